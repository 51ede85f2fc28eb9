"""Draw the page of a finished scan again from its results: nothing is registered, no result is touched."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack, load_pack
from bidsapp.atlas.schemes import to_seganat
from bidsapp.bids.completion import check_results, describe_recipe
from bidsapp.bids.description import app_version
from bidsapp.bids.load import load_subject
from bidsapp.bids.names import Kind, LogKind, latest_log, output_path, scan_name
from bidsapp.bids.transforms import read_itk_h5
from bidsapp.errors import DataError, MissingInputError
from bidsapp.execution.lock import hold
from bidsapp.images.alignment import Alignment
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.volume import Volume
from bidsapp.participant import ParticipantJob, Story, draw_page, find_scan_lesions, report_path
from bidsapp.reports.participant import write_participant_report
from bidsapp.warped import Warped, warp_once

DRAWN_AGAIN = "page drawn again"
_FIRST = ("version", "command", "device", "date", "seconds", "atlas")


def redraw_page(job: ParticipantJob, *, must_wait: bool = False) -> None:
    """Draw the page of one scan from its results and its inputs.

    Parameters
    ----------
    job
        The scan; of its settings only the folders, the atlas and the number of threads count.
    must_wait
        What to do while another run works on the scan: wait, or give up at once.

    Raises
    ------
    HeldError
        If another run works on the scan and must not be waited for.
    MissingInputError
        If the scan has no results, or some are gone.
    DataError
        If an input has changed since, the atlas is another one, or a result is damaged.
    OutputError
        If the page cannot be written.
    """
    torch.set_num_threads(job.settings.n_threads)
    atlas = load_pack(job.settings.atlas) if job.settings.atlas else load_builtin()
    with hold(job.settings.output_dir / "logs" / f"{_scan(job)}.lock", must_wait=must_wait):
        check_results(*_place(job), describe_recipe(job.files, {}))
        story = _read_story(job, atlas)
        subject = load_subject(job.files)
        lesions = find_scan_lesions(subject, subject.labels)
        alignment = _read_alignment(job, atlas)
        affine = warp_once(subject, lesions, alignment.affine_only(), atlas)
        warped = Warped(
            t1w=_on_atlas(read_volume(_path(job, Kind.WARPED_T1W, atlas)), atlas),
            affine_t1w=affine[0],
            labels=_read_structures(job, atlas),
            affine_labels=affine[1],
            lesions=_read_lesions(job, atlas),
            affine_lesions=affine[2],
        )
        page = draw_page(job, (subject, lesions), warped, alignment, atlas, story)
        write_participant_report(page, report_path(job, atlas.name))


def _read_alignment(job: ParticipantJob, atlas: AtlasPack) -> Alignment:
    """Read the way from the atlas to the patient; a page does not ask for the way back."""
    found = read_itk_h5(_path(job, Kind.FIXED_TO_MOVING, atlas))
    return Alignment(found.affine, found.space, found.displacement, np.zeros_like(found.displacement))


def _read_structures(job: ParticipantJob, atlas: AtlasPack) -> Volume:
    labels = read_labels(_path(job, Kind.STRUCTURES, atlas))
    return _on_atlas(to_seganat(labels, "freesurfer").labels, atlas)


def _read_lesions(job: ParticipantJob, atlas: AtlasPack) -> Volume | None:
    path = _path(job, Kind.LESION_INSTANCES, atlas)
    return _on_atlas(read_labels(path), atlas) if path.is_file() else None


def _read_story(job: ParticipantJob, atlas: AtlasPack) -> Story:
    """Read from the log of the run how the results came about, and say that the page was drawn again."""
    log = latest_log(*_place(job), LogKind.SETTINGS)
    if log is None:
        raise MissingInputError(
            f"the log of the run that made the results of {_scan(job)} must be in "
            f"{job.settings.output_dir}, got none: run the participant level without --reports-only"
        )
    try:
        story = json.loads(log.read_text(encoding="utf-8"))["story"]
        methods, provenance = dict(story["methods"]), dict(story["provenance"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{log} must tell how the results of {_scan(job)} came about, got something else "
            f"({error!r}): run the participant level without --reports-only"
        ) from error
    if provenance.get("atlas") != atlas.name:
        raise DataError(
            f"the atlas must be that of the results of {_scan(job)}, {provenance.get('atlas')!r}, got "
            f"{atlas.name!r}: give it with --atlas"
        )
    told = {name: provenance[name] for name in (*_FIRST, *sorted(provenance)) if name in provenance}
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    return Story(methods, {**told, DRAWN_AGAIN: f"{now} by version {app_version()}"})


def _on_atlas(volume: Volume, atlas: AtlasPack) -> Volume:
    """Lay a result onto the very grid of the atlas, free of the rounding of its header."""
    if not volume.space.matches(atlas.template.space):
        raise DataError(
            f"results must lie on the grid of the atlas {atlas.name}, {atlas.template.space.shape}, got "
            f"{volume.space.shape}: give the atlas they were made with"
        )
    return Volume(volume.data, atlas.template.space)


def _place(job: ParticipantJob) -> tuple[Path, str, Mapping[str, str]]:
    return job.settings.output_dir, job.files.subject, job.files.entities


def _scan(job: ParticipantJob) -> str:
    return scan_name(job.files.subject, job.files.entities)


def _path(job: ParticipantJob, kind: Kind, atlas: AtlasPack) -> Path:
    return output_path(*_place(job), kind, atlas.name)

"""THE STORY of one scan, top to bottom: read it, align it, carry its lesions to the atlas, measure, show."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bidsapp.aligning import find_start, over_fit
from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack, load_pack
from bidsapp.bids.completion import withdraw
from bidsapp.bids.description import app_version, image_sidecar, is_virtual, write_dataset_files
from bidsapp.bids.find import SubjectFiles, file_warnings
from bidsapp.bids.load import LoadedSubject, load_subject
from bidsapp.bids.names import Kind, LogKind, bids_uri, log_path, output_path, scan_name
from bidsapp.bids.save import (
    lesion_lookup,
    load_table,
    save_json,
    save_labels,
    save_structures,
    save_table,
    save_volume,
)
from bidsapp.bids.transforms import write_fixed_to_moving, write_moving_to_fixed
from bidsapp.execution.lock import hold
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import Guide, guide
from bidsapp.lesions.healing import heal_labels
from bidsapp.lesions.instances import find_lesions, instance_map
from bidsapp.lesions.table import LESION_COLUMNS, LesionScan, lesion_table
from bidsapp.metrics.measurements import STRUCTURE_COLUMNS, SUMMARY_COLUMNS, Measurements, measure
from bidsapp.registration.deformable import Convergence
from bidsapp.registration.repeats import perturbed_starts
from bidsapp.reports.participant import write_participant_report
from bidsapp.reports.participant_page import ParticipantPage
from bidsapp.settings import RunSettings
from bidsapp.warped import Warped, warp

logger = logging.getLogger(__name__)

CONVERGENCE_COLUMNS: Mapping[str, str] = {
    "level": "Stage of the coarse-to-fine over-fitting, 1 is the coarsest.",
    "iteration": "Update of the velocity, counted over all stages.",
    "dissimilarity": "One minus the mean soft Dice overlap of the structures.",
    "image_dissimilarity": "Weighted: one minus the mean local correlation of the intensities.",
    "smoothness": "Weighted mean squared gradient and curvature of the velocity.",
    "volume_preservation": "Weighted variance of the log Jacobian determinant within each structure.",
    "lesion_preservation": "Weighted squared log Jacobian of lesions against the growth of their rings.",
}

_HANDLED: Mapping[str, str] = {
    "mask": "lesions were left out of the comparison and keep the size of their surroundings",
    "volume": "no mask steered the alignment; every structure keeps its volume even",
    "none": "nothing was done to keep lesions as large as they are",
}


@dataclass(frozen=True)
class ParticipantJob:
    """One scan to work on.

    Parameters
    ----------
    files
        The scan and what belongs to it.
    settings
        Of the run.
    run_id
        Names the log folder.
    """

    files: SubjectFiles
    settings: RunSettings
    run_id: str


@dataclass(frozen=True, slots=True)
class Story:
    """How the results of a scan came about, as its page tells.

    Parameters
    ----------
    methods
        What `bidsapp.reports.methods_text.participant_methods` asks for.
    provenance
        Version, command, device, date, seconds, atlas and its checksums, in words.
    """

    methods: Mapping[str, object]
    provenance: Mapping[str, str]


def process_participant(job: ParticipantJob) -> Mapping[str, float | int | str]:
    """Align one scan to the atlas, carry its lesions there, measure, save and draw.

    Returns
    -------
    summary
        The figures of the alignment, as in ``desc-registration_metrics.tsv``.

    Raises
    ------
    MetsAtlasError
        If the scan, its label map or its mask cannot be used, or the output cannot be written.
    """
    started = time.monotonic()
    torch.set_num_threads(job.settings.n_threads)
    atlas = load_pack(job.settings.atlas) if job.settings.atlas else load_builtin()
    subject = load_subject(job.files)
    brain = healthy_brain(subject)
    scan = find_scan_lesions(subject, brain)
    convergence: list[Convergence] = []
    guided = guide(subject.labels, subject.lesion_mask, job.settings.lesion_handling)
    guided, start = find_start(atlas.labels, subject.t1w, guided, job.settings.device)
    alignment = over_fit(subject.t1w, guided, start, atlas, job.settings, convergence.append)
    warped = warp(subject, scan, alignment, atlas)
    measurements = measure(
        atlas.labels,
        warped.affine_labels,
        warped.labels,
        displacement=alignment.displacement,
        inverse_displacement=alignment.inverse_displacement,
        space=alignment.space,
    )
    repeats = repeated(subject, guided, alignment, atlas, job.settings)
    lesions = lesion_table(scan, alignment, atlas, repeats)
    save_images(job, subject, warped, alignment, atlas, guided)
    save_tables(job, measurements, lesions, convergence, atlas.name)
    story = tell_story(job, guided, atlas, len(convergence), time.monotonic() - started)
    save_log(job, atlas, story)
    page = draw_page(job, (subject, scan), warped, alignment, atlas, story)
    write_participant_report(page, report_path(job, atlas.name))
    return measurements.summary


def healthy_brain(subject: LoadedSubject) -> Volume:
    """Name the tissue under the lesions by its surroundings, so that they do not steer the alignment."""
    if subject.lesion_mask is None:
        return subject.labels
    return heal_labels(subject.labels, subject.lesion_mask)


def find_scan_lesions(subject: LoadedSubject, brain: Volume) -> LesionScan:
    """Separate the lesions of a scan in native space."""
    files, mask = subject.files, subject.lesion_mask
    if mask is None:
        return LesionScan(files.subject, files.session, (), brain.space, brain)
    lesions = find_lesions(mask, subject.lesion_mask_kind)
    return LesionScan(files.subject, files.session, lesions, mask.space, brain)


def repeated(
    subject: LoadedSubject, guided: Guide, alignment: Alignment, atlas: AtlasPack, settings: RunSettings
) -> Iterator[Alignment]:
    """Find the alignment again from perturbed starts, as often as was asked for."""
    n, seed = settings.location_ensemble, settings.random_seed
    for start in perturbed_starts(alignment.affine, atlas.labels, n=n, seed=seed):
        yield over_fit(subject.t1w, guided, start, atlas, settings)


def save_images(
    job: ParticipantJob,
    subject: LoadedSubject,
    warped: Warped,
    alignment: Alignment,
    atlas: AtlasPack,
    guided: Guide,
) -> None:
    """Write the dataset's own files, the images in atlas space and the transforms both ways."""
    selection, output_dir = job.settings.selection, job.settings.output_dir
    withdraw(*_scan(job), atlas.name)
    with hold(output_dir / "logs" / "dataset.lock", must_wait=True):
        write_dataset_files(selection.bids_dir, output_dir, selection.derivatives)
    name, onto = atlas.name, atlas.template.space
    virtual = {"Virtual": True} if is_virtual(selection.bids_dir) else {}
    origin = {"LesionHandling": _lesion_handling(job, guided), "AtlasChecksums": dict(atlas.checksums)}

    def note(kind: Kind) -> dict[str, object]:
        used = [job.files.t1w]
        if kind is Kind.STRUCTURES and job.files.labels:
            used = [job.files.labels]
        elif "LESION" in kind.name and job.files.lesion_mask:
            used = [job.files.lesion_mask]
        sources = [_source(job, path) for path in used]
        return {**image_sidecar(kind, name, onto, sources), **virtual, **origin}

    save_volume(warped.t1w, _path(job, Kind.WARPED_T1W, name), note(Kind.WARPED_T1W))
    save_structures(warped.labels, _path(job, Kind.STRUCTURES, name), note(Kind.STRUCTURES))
    save_volume(alignment.jacobian_determinant(), _path(job, Kind.JACOBIAN, name), note(Kind.JACOBIAN))
    if warped.lesions and subject.lesion_mask:
        found = [int(number) for number in np.unique(warped.lesions.data) if number]
        lookup, path = lesion_lookup(found), _path(job, Kind.LESION_INSTANCES, name)
        save_labels(warped.lesions, lookup, path, note(Kind.LESION_INSTANCES))
        mask = Volume(warped.lesions.data > 0, onto)
        save_volume(mask, _path(job, Kind.LESION_MASK, name), note(Kind.LESION_MASK))
        native = Volume(subject.lesion_mask.data != 0, subject.lesion_mask.space)
        save_volume(native, _path(job, Kind.NATIVE_LESION_MASK, name), note(Kind.NATIVE_LESION_MASK))
    path = _path(job, Kind.FIXED_TO_MOVING, name)
    write_fixed_to_moving(alignment.affine, alignment.displacement, alignment.space, path, name)
    path = _path(job, Kind.MOVING_TO_FIXED, name)
    write_moving_to_fixed(alignment.affine, alignment.inverse_displacement, alignment.space, path, name)


def save_tables(
    job: ParticipantJob,
    measurements: Measurements,
    lesions: pd.DataFrame,
    convergence: list[Convergence],
    atlas: str,
) -> None:
    """Write every table of the scan, the lesions last: their table says that the scan is done."""
    summary = pd.DataFrame([dict(measurements.summary)])
    save_table(summary, _path(job, Kind.REGISTRATION_METRICS, atlas), SUMMARY_COLUMNS)
    save_table(measurements.structures, _path(job, Kind.STRUCTURE_METRICS, atlas), STRUCTURE_COLUMNS)
    history = pd.DataFrame(
        [{"level": update.stage, "iteration": update.iteration, **update.terms} for update in convergence]
    )
    save_table(history, _path(job, Kind.CONVERGENCE_METRICS, atlas), CONVERGENCE_COLUMNS)
    save_table(lesions, _path(job, Kind.LESION_METRICS, atlas), LESION_COLUMNS)


def tell_story(
    job: ParticipantJob, guided: Guide, atlas: AtlasPack, n_iterations: int, seconds: float
) -> Story:
    """Say how the results of a scan came about."""
    chosen = job.settings.registration
    methods = {
        "version": app_version(),
        "atlas": atlas.name,
        "spacing_mm": chosen.stages[-1].grid_mm,
        "iterations": n_iterations,
        "smoothness_weight": chosen.smoothness_weight,
        "volume_weight": chosen.volume_weight,
        "curvature_weight": chosen.curvature_weight,
        "objective": chosen.objective,
        "compares_images": any(stage.image_weight > 0 for stage in chosen.stages),
        "parameterisation": chosen.parameterisation,
        "lesion_handling": guided.handling,
        "suspected_ml": guided.suspected_ml,
        "levels_lesions": chosen.levels_lesions,
        "device": job.settings.device,
    }
    provenance = {
        "version": app_version(),
        "command": job.settings.command,
        "device": job.settings.device,
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "seconds": f"{seconds:.0f}",
        "atlas": atlas.name,
        **{f"sha256 of {name}": atlas.checksums[name] for name in sorted(atlas.checksums)},
    }
    return Story(methods, provenance)


def save_log(job: ParticipantJob, atlas: AtlasPack, story: Story) -> None:
    """Keep every choice behind the results of this scan."""
    choices = {
        "run": asdict(job.settings),
        "registration": asdict(job.settings.registration),
        "atlas": {"name": atlas.name, "sha256": dict(atlas.checksums)},
        "version": app_version(),
        "story": story,
    }
    save_json(choices, log_path(*_scan(job), LogKind.SETTINGS, job.run_id))


def draw_page(
    job: ParticipantJob,
    native: tuple[LoadedSubject, LesionScan],
    warped: Warped,
    alignment: Alignment,
    atlas: AtlasPack,
    story: Story,
) -> ParticipantPage:
    """Lay out everything the page of this scan shows; its numbers are those of the saved tables."""
    subject, scan = native
    root = job.settings.selection.bids_dir
    handled = _handled(story.methods)
    inputs = [("T1w", _relative(job.files.t1w, root), "; ".join(job.files.notes))]
    if job.files.labels:
        inputs.append(("anatomical labels", _relative(job.files.labels, root), ""))
    if job.files.lesion_mask:
        path = _relative(job.files.lesion_mask, root)
        inputs.append(("lesion mask", path, f"{subject.lesion_mask_kind}; {handled}"))
    else:
        inputs.append(("lesion mask", "none", handled))

    def saved(kind: Kind) -> pd.DataFrame:
        return load_table(_path(job, kind, atlas.name))

    return ParticipantPage(
        title=scan_name(job.files.subject, job.files.entities).replace("_", " "),
        virtual=is_virtual(root),
        inputs=tuple(inputs),
        template=atlas.template,
        warped_affine=warped.affine_t1w,
        warped=warped.t1w,
        fixed_labels=atlas.labels,
        warped_labels=warped.labels,
        affine_labels=warped.affine_labels,
        lesion_mask=_shown(job, warped.lesions, atlas),
        affine_lesion_mask=_shown(job, warped.affine_lesions, atlas),
        t1w=subject.t1w,
        native_lesion_mask=instance_map(scan.lesions, scan.space) if scan.lesions else None,
        native_labels=subject.labels,
        jacobian=alignment.jacobian_determinant(),
        structures=saved(Kind.STRUCTURE_METRICS),
        summary=_summary(saved(Kind.REGISTRATION_METRICS)),
        lesions=saved(Kind.LESION_METRICS),
        convergence=saved(Kind.CONVERGENCE_METRICS),
        warnings=(*subject.warnings, *file_warnings(job.files.notes)),
        methods=story.methods,
        provenance=story.provenance,
        displacement_mm=alignment.displacement,
        affine=alignment.affine,
    )


def _handled(methods: Mapping[str, object]) -> str:
    """Say how lesions were handled; the log of an earlier version tells of nothing suspected."""
    told = _HANDLED[str(methods["lesion_handling"])]
    if methods["lesion_handling"] == "volume" and "suspected_ml" in methods:
        told += f"; {methods['suspected_ml']:.3g} ml that are unlike their label were taken for lesions and "
        told += "keep the size of their surroundings"
    return told


def _summary(table: pd.DataFrame) -> dict[str, float | int | str]:
    """Give the one row of the table of the alignment; no missing structure is no text."""
    row = table.fillna({"missing_structures": ""}).to_dict("records")[0]
    return {str(name): value for name, value in row.items()}


def report_path(job: ParticipantJob, atlas: str) -> Path:
    """Name the page of a scan."""
    return _path(job, Kind.REPORT, atlas)


def _shown(job: ParticipantJob, lesions: Volume | None, atlas: AtlasPack) -> Volume | None:
    """Give what the page shows as lesions: none where there is no mask, an empty map where it is empty."""
    if lesions is None and job.files.lesion_mask:
        return Volume(np.zeros(atlas.template.space.shape, dtype=np.uint16), atlas.template.space)
    return lesions


def _lesion_handling(job: ParticipantJob, guided: Guide) -> dict[str, object]:
    """Say how lesions were handled, by which mask, and how much was taken for lesions without one."""
    mask = job.files.lesion_mask
    told: dict[str, object] = {"Method": guided.handling}
    if guided.handling == "volume":
        told["SuspectedVolumeMl"] = guided.suspected_ml
    elif mask and guided.handling == "mask":
        told["Mask"] = _source(job, mask)
    return told


def _scan(job: ParticipantJob) -> tuple[Path, str, Mapping[str, str]]:
    return job.settings.output_dir, job.files.subject, job.files.entities


def _path(job: ParticipantJob, kind: Kind, atlas: str) -> Path:
    return output_path(*_scan(job), kind, atlas)


def _source(job: ParticipantJob, path: Path) -> str:
    """Name an input file as BIDS does, by the dataset it belongs to."""
    selection = job.settings.selection
    for name, folder in selection.derivatives.items():
        if path.is_relative_to(folder):
            return bids_uri(name, folder, path)
    return bids_uri("raw", selection.bids_dir, path)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name

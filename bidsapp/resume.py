"""Work on a scan unless that is done already, and unless another run is working on it."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import torch

from bidsapp.atlas.builtin import load_builtin
from bidsapp.atlas.pack import AtlasPack, load_pack
from bidsapp.bids.completion import describe_recipe, mark_done, why_not_done
from bidsapp.bids.names import scan_name
from bidsapp.errors import TemporaryError
from bidsapp.execution.device import settle_device
from bidsapp.execution.lock import hold
from bidsapp.participant import ParticipantJob, process_participant
from bidsapp.settings import RunSettings

logger = logging.getLogger(__name__)

GPU_MEMORY_GIB = 4.0
"""What a scan needs of a GPU's memory, with room to spare (benchmark/results/gpu_memory.json)."""

_WITHOUT_EFFECT = frozenset(
    {
        *("selection", "output_dir", "work_dir", "levels", "device", "gpu", "n_processes", "n_threads"),
        *("atlas", "group", "force", "scheduler", "reports_only", "command"),
    }
)
"""Settings that say where and how a scan is worked on, or that stand elsewhere in its recipe."""


@dataclass(frozen=True, slots=True)
class ScanDone:
    """A scan whose results are complete.

    Parameters
    ----------
    was_up_to_date
        Whether an earlier run had made them already.
    summary
        The figures of the alignment; empty if the results were there.
    """

    was_up_to_date: bool
    summary: Mapping[str, float | int | str]


def process_unless_done(job: ParticipantJob, *, must_wait: bool = False) -> ScanDone:
    """Work on one scan, alone, unless the same inputs, settings and version have given its results already.

    Parameters
    ----------
    job
        The scan.
    must_wait
        What to do while another run works on it: wait, or give up at once.

    Raises
    ------
    HeldError
        If another run works on it and must not be waited for.
    MetsAtlasError
        As `bidsapp.participant.process_participant`.
    """
    settings, files = job.settings, job.files
    scan = scan_name(files.subject, files.entities)
    place = (settings.output_dir, files.subject, files.entities)
    atlas = load_pack(settings.atlas) if settings.atlas else load_builtin()
    with hold(settings.output_dir / "logs" / f"{scan}.lock", must_wait=must_wait):
        recipe = describe_recipe(files, choices(settings, atlas))
        reason = "--force was given" if settings.force else why_not_done(*place, recipe)
        if not reason:
            logger.info("%s skipped, up to date: same inputs, settings and version (--force repeats)", scan)
            return ScanDone(was_up_to_date=True, summary={})
        logger.debug("%s is worked on: %s", scan, reason)
        started = time.monotonic()
        summary = _work(job, scan)
        note = {"recipe": recipe, "seconds": round(time.monotonic() - started, 1)}
        mark_done(*place, atlas.name, note, job.run_id)
    return ScanDone(was_up_to_date=False, summary=summary)


def _work(job: ParticipantJob, scan: str) -> Mapping[str, float | int | str]:
    """Work on the GPU if its memory is enough, else on the processor, which needs none of it and says so.

    Raises
    ------
    TemporaryError
        If it is not enough and a GPU is required.
    """
    settings = job.settings
    device = settle_device(settings.device, settings.gpu)  # a worker elsewhere may have another one
    on_processor = replace(job, settings=replace(settings, device="cpu"))
    if device.free_gib is None:
        return process_participant(on_processor)
    short = f"{scan} needs {GPU_MEMORY_GIB:.1f} GiB of the GPU's memory, got {device.free_gib:.1f} free"
    if device.free_gib >= GPU_MEMORY_GIB:
        try:
            return process_participant(replace(job, settings=replace(settings, device=device.name)))
        except torch.OutOfMemoryError:
            short = f"{scan} ran out of the GPU's memory, of which {device.free_gib:.1f} GiB were free before"
            torch.cuda.empty_cache()
    if settings.gpu == "require":
        raise TemporaryError(f"{short}: end what else runs on it, take a larger one, or use --gpu try")
    logger.warning("%s: it is worked on by the processor, with the same result, but slower", short)
    return process_participant(on_processor)


def choices(settings: RunSettings, atlas: AtlasPack) -> dict[str, object]:
    """List the settings that results depend on: all but those known to have no effect."""
    named = {field.name for field in fields(settings)} - _WITHOUT_EFFECT
    return {
        **{name: getattr(settings, name) for name in sorted(named)},
        "registration": asdict(settings.registration),
        "atlas": {"name": atlas.name, "sha256": dict(atlas.checksums)},
    }

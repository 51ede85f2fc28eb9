"""Bytes that one update of the velocity must move, from the bytes of each kernel that the roofline counts."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from benchmark.roofline_kernels import OPERATIONS, Case, Cost, Operation
from bidsapp.images.volume import Volume
from bidsapp.registration.grids import coarsen, crop_to_labels, pad
from bidsapp.settings import RegistrationSettings, Stage

_KERNELS: Mapping[str, Operation] = MappingProxyType(
    {operation.name.partition(",")[0]: operation for operation in OPERATIONS}
)
REFINE = Cost(grid=12, fixed=12)
"""The spline from the velocity's grid to that of the labels: there, and its gradient back."""
ADD = Cost(grid=36)
"""Velocity and blurred change, summed."""
ADAM = Cost(grid=84)
"""Gradient, change and both moments read; change and moments written."""


def stage_bytes(
    fixed: Volume, moving: Volume, scan: Volume, stage: Stage, settings: RegistrationSettings
) -> int:
    """Count what one update of a stage moves: every kernel's inputs once, every result once, both ways.

    Parameters
    ----------
    fixed, moving
        Label maps.
    scan
        Intensities of the moving brain.
    stage
        Spacings.
    settings
        Squaring steps and margin; our objective.
    """
    box = crop_to_labels(fixed, settings.margin_mm)
    grid, fine = (box.space.with_spacing(mm).shape for mm in (stage.grid_mm, stage.labels_mm))
    field = Case("field", grid, fine, fine)
    labels = [coarsen(volume, stage.labels_mm).space.shape for volume in (box, pad(moving))]
    images = [coarsen(volume, stage.images_mm).space.shape for volume in (box, scan)]
    on_field = ["compose"] * settings.squaring_steps
    on_field += ["smooth", "squared differences", "squared curvature", "log Jacobian moments"]
    total = _both_ways(on_field, field) + _both_ways(["label votes"], Case("labels", fine, *labels))
    if stage.image_weight > 0:
        total += _both_ways(["sample image", "local correlation"], Case("images", grid, *images))
    return total + 2 * REFINE.bytes(field) + ADD.bytes(field) + ADAM.bytes(field)


def _both_ways(names: Sequence[str], case: Case) -> int:
    kernels = [_KERNELS[name] for name in names]
    return sum(kernel.forward.bytes(case) + kernel.adjoint.bytes(case) for kernel in kernels)

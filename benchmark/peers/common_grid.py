"""The common ground of all tools: one affine, one 1 mm grid, one format of displacement."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from nibabel.nifti1 import Nifti1Image

from benchmark.peers.cases import Brain, Case
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.nifti import write_volume
from bidsapp.images.volume import Volume

MARGIN_MM = 16
LPS = np.array([-1.0, -1.0, 1.0])


def cover(labels: Volume) -> Space:
    """Lay a 1 mm grid with axes to the right, front and top over a brain, with a margin around it.

    A voxel of the brain and one of the grid share their centre, so that labels of 1 mm along the same axes
    lose nothing.
    """
    points = labels.space.voxel_to_world(np.argwhere(labels.data > 0).astype(np.float64))
    anchor = points[0]
    low = anchor + np.floor(points.min(axis=0) - anchor) - MARGIN_MM
    shape = np.ceil(points.max(axis=0) - low).astype(int) + 1 + MARGIN_MM
    affine = np.eye(4)
    affine[:3, 3] = low
    return Space((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def still(affine: Float64[np.ndarray, "4 4"], space: Space) -> Alignment:
    """Give the alignment that is an affine alone."""
    nothing = np.zeros((3, *space.shape), dtype=np.float32)
    return Alignment(affine, space, nothing, nothing)


def write_images(case: Case, affine: Float64[np.ndarray, "4 4"], space: Space, folder: Path) -> None:
    """Write what the other tools read: both brains on the common grid, the moving one through the affine.

    ``fixed_t1w``, ``moving_t1w`` (trilinear), ``fixed_labels`` and ``moving_labels`` (nearest neighbour), as
    ``.nii``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sides: tuple[tuple[str, Brain, Float64[np.ndarray, "4 4"]], ...] = (
        ("fixed", case.fixed, np.eye(4)),
        ("moving", case.moving, affine),
    )
    for side, brain, start in sides:
        alignment = still(start, space)
        t1w = alignment.resample(brain.t1w, onto=space, interpolation="linear")
        labels = alignment.resample(brain.labels, onto=space, interpolation="nearest")
        write_volume(t1w, folder / f"{side}_t1w.nii")
        write_volume(labels, folder / f"{side}_labels.nii")


def to_world(field: np.ndarray, space: Space) -> Float32[np.ndarray, "3 i j k"]:
    """Turn the voxels of an ITK displacement file into world millimetres (RAS+) on its grid.

    ITK writes millimetres along left, back and top (LPS+) whatever the direction of the grid's own axes, one
    vector a voxel, as the last axis.

    Parameters
    ----------
    field
        As in the file: (i, j, k, 1, 3) or (i, j, k, 3).
    space
        Where its voxels are.

    Raises
    ------
    DataError
        If the field is not on the grid of `space`, or not finite.
    """
    vectors = field.reshape(*field.shape[:3], -1)
    if vectors.shape != (*space.shape, 3) or not np.isfinite(vectors).all():
        raise DataError(
            f"a displacement must hold three finite numbers a voxel on the grid {space.shape}, got the sizes "
            f"{field.shape}: the tool failed, look at its log"
        )
    return np.ascontiguousarray(np.moveaxis(vectors * LPS, -1, 0), dtype=np.float32)


def write_ours(case: Case, affine: Float64[np.ndarray, "4 4"], folder: Path) -> None:
    """Write what this app reads: native labels, the T1w on the same grid, and the affine."""
    for side, brain in (("fixed", case.fixed), ("moving", case.moving)):
        write_volume(t1w_on_labels(brain), folder / f"{side}_native_t1w.nii")
        write_volume(brain.labels, folder / f"{side}_native_labels.nii")
    np.save(folder / "affine.npy", affine)


def t1w_on_labels(brain: Brain) -> Volume:
    """Read the T1w at the voxels of the native label map."""
    grid = brain.labels.space
    return still(np.eye(4), grid).resample(brain.t1w, onto=grid, interpolation="linear")


def read_alignment(folder: Path, affine: Float64[np.ndarray, "4 4"], space: Space) -> Alignment:
    """Read what a driver wrote, in whichever of the two formats.

    A tool that writes no inverse gets the negative displacement: the search for the exact one starts there.

    Raises
    ------
    DataError
        If there is nothing, or a field is not on the common grid.
    """
    if (folder / "alignment.npz").is_file():
        with np.load(folder / "alignment.npz") as found:
            shape = found["displacement"].shape[1:]
            own = Space((shape[0], shape[1], shape[2]), found["grid"])
            return Alignment(affine, own, found["displacement"], found["inverse"])
    displacement = _read_field(folder, "displacement", space)
    if displacement is None:
        raise DataError(f"a driver must write its displacement, but there is none in {folder}: see its log")
    inverse = _read_field(folder, "inverse", space)
    return Alignment(affine, space, displacement, -displacement if inverse is None else inverse)


def _read_field(folder: Path, name: str, space: Space) -> Float32[np.ndarray, "3 i j k"] | None:
    for path in (folder / f"{name}.nii", folder / f"{name}.nii.gz"):
        if path.is_file():
            image: Any = Nifti1Image.from_filename(path)
            if not np.allclose(image.affine, space.affine, atol=1e-3):
                raise DataError(f"{path.name} must lie on the common grid, got {image.affine.tolist()}")
            return to_world(np.asarray(image.dataobj), space)
    return None

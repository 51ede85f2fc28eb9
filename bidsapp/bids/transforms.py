"""Affine and displacement <-> ITK composite ``.h5``, which ITK, ANTs, 3D Slicer and nitransforms read.

MetsAtlas thinks in world RAS+ millimetres, ITK in LPS+: both first axes are flipped on the way in and out.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from bidsapp.bids.description import app_version
from bidsapp.bids.names import sidecar_path
from bidsapp.bids.save import atomic_write, save_json
from bidsapp.errors import DataError, MissingInputError, ReadWriteError, ShapeError
from bidsapp.geometry.space import Space

Order = Literal["displacement_first", "affine_first"]
"""What a point meets first: ``affine(x + d(x))``, or ``y + d(y)`` with ``y = affine(x)``."""

GZIP_LEVEL = 1
MAX_VOXELS = 512**3

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FLIP = np.array([-1, -1, 1], np.float32)
_COMPOSITE, _AFFINE, _FIELD = "CompositeTransform", "AffineTransform", "DisplacementFieldTransform"
_SEQUENCES: dict[Order, tuple[str, str]] = {
    "displacement_first": (_AFFINE, _FIELD),
    "affine_first": (_FIELD, _AFFINE),
}


@dataclass(frozen=True)
class PointMap:
    """A map of points as one file holds it.

    Parameters
    ----------
    affine
        World RAS+ mm to world RAS+ mm.
    displacement
        World RAS+ mm, at the voxel centres of `space`.
    space
        The grid `displacement` is sampled on.
    order
        Which of the two a point meets first.
    """

    affine: Float64[np.ndarray, "4 4"]
    displacement: Float32[np.ndarray, "3 i j k"]
    space: Space
    order: Order


def write_fixed_to_moving(
    affine: Float64[np.ndarray, "4 4"],
    displacement: Float32[np.ndarray, "3 i j k"],
    space: Space,
    path: Path,
    atlas: str,
) -> None:
    """Write ``from-T1w_to-<atlas>_xfm.h5``, which resamples the patient's image onto the atlas.

    It maps *points* of the atlas to the patient, ``x -> affine(x + d(x))``, as resampling asks for.

    Parameters
    ----------
    affine
        Fixed (atlas) world mm to moving (patient) world mm.
    displacement
        World RAS+ mm to add to a point of the atlas, sampled on `space`.
    space
        A grid in the atlas; may be coarser than the atlas itself.
    path
        Ends in ``.h5``; a JSON that tells the direction is written beside it.
    atlas
        Name of the atlas.

    Raises
    ------
    ShapeError, DataError, OutputError, ReadWriteError
        As `write_itk_h5`.
    """
    save_json(_sidecar(image_from="T1w", image_to=atlas), sidecar_path(path))
    write_itk_h5(affine, displacement, space, path, order="displacement_first")


def write_moving_to_fixed(
    affine: Float64[np.ndarray, "4 4"],
    inverse_displacement: Float32[np.ndarray, "3 i j k"],
    space: Space,
    path: Path,
    atlas: str,
) -> None:
    """Write ``from-<atlas>_to-T1w_xfm.h5``, which resamples the atlas onto the patient's image.

    It maps *points* of the patient to the atlas: ``y = affine^-1 p``, then ``y + d_inv(y)``.

    Parameters
    ----------
    affine
        Fixed (atlas) world mm to moving (patient) world mm, as for the other direction: it is inverted here.
    inverse_displacement
        World RAS+ mm to add to a point of the atlas, sampled on `space`.
    space
        A grid in the atlas.
    path
        Ends in ``.h5``; a JSON that tells the direction is written beside it.
    atlas
        Name of the atlas.

    Raises
    ------
    ShapeError, DataError, OutputError, ReadWriteError
        As `write_itk_h5`.
    """
    inverse = np.linalg.inv(_checked_affine(affine))
    save_json(_sidecar(image_from=atlas, image_to="T1w"), sidecar_path(path))
    write_itk_h5(inverse, inverse_displacement, space, path, order="affine_first")


def write_itk_h5(
    affine: Float64[np.ndarray, "4 4"],
    displacement: Float32[np.ndarray, "3 i j k"],
    space: Space,
    path: Path,
    *,
    order: Order,
) -> None:
    """Write an affine and a displacement as one ITK composite transform.

    Single precision and compressed, less than half of what ITK writes itself. Readers displace nothing beyond
    the grid. The file is made in memory: on a full disk HDF5 does not fail, it takes the process down.

    Parameters
    ----------
    affine
        World RAS+ mm to world RAS+ mm.
    displacement
        World RAS+ mm, at the voxel centres of `space`.
    space
        The grid `displacement` is sampled on; may be oblique, anisotropic and left-handed.
    path
        Ends in ``.h5``.
    order
        What a point meets first. ITK applies the *last* transform of a file first.

    Raises
    ------
    ShapeError
        If `displacement` does not lie on `space`, or `affine` is not an invertible 4 x 4 matrix.
    DataError
        If a displacement is not finite.
    OutputError, ReadWriteError
        As `bidsapp.bids.save.atomic_write`.
    """
    matrix = _LPS @ _checked_affine(affine) @ _LPS
    if displacement.shape != (3, *space.shape):
        raise ShapeError(f"a displacement must have the sizes {(3, *space.shape)}, got {displacement.shape}")
    if not np.isfinite(displacement).all():
        raise DataError("every displacement must be finite, NaN or infinity came: the alignment failed")
    grid = _LPS @ space.affine
    spacing = np.array(space.voxel_sizes_mm)
    direction = grid[:3, :3] / spacing
    vectors = np.transpose(displacement, (3, 2, 1, 0)) * _FLIP  # i runs fastest
    parts = {
        _AFFINE: ([*matrix[:3, :3].ravel(), *matrix[:3, 3]], np.zeros(3)),
        _FIELD: (vectors, [*space.shape, *grid[:3, 3], *spacing, *direction.ravel()]),
    }
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        _write_text(file, "ITKVersion", "5.4.0")  # whose layout this is
        _write_text(file, "HDFVersion", h5py.version.hdf5_version)
        _write_text(file, "OSName", "n/a")
        _write_text(file, "OSVersion", "n/a")
        _write_text(file, "TransformGroup/0/TransformType", f"{_COMPOSITE}_double_3_3")
        for number, name in enumerate(_SEQUENCES[order], start=1):
            group = file.create_group(f"TransformGroup/{number}")
            parameters, fixed_parameters = parts[name]
            _write_text(group, "TransformType", f"{name}_double_3_3")
            group.create_dataset("TransformFixedParameters", data=np.array(fixed_parameters, np.float64))
            values = np.asarray(parameters, np.float32 if name == _FIELD else np.float64).ravel()
            packing = {"compression": "gzip", "compression_opts": GZIP_LEVEL, "shuffle": True, "chunks": True}
            group.create_dataset("TransformParameters", data=values, **(packing if name == _FIELD else {}))
        file.flush()
        content = file.id.get_file_image()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_itk_h5(path: Path) -> PointMap:
    """Read a transform of `write_itk_h5` back; other ITK writers' files of one affine and one field work too.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If the file holds something else.
    ReadWriteError
        If reading fails.
    """
    if not path.is_file():
        raise MissingInputError(f"no transform at {path}: run the participant level first")
    try:
        with h5py.File(path, "r") as file, np.errstate(over="ignore", invalid="ignore"):
            return _read_composite(file["TransformGroup"])
    except (KeyError, AttributeError, IndexError, RuntimeError, TypeError, ValueError, ShapeError) as error:
        raise DataError(
            f"{path} must be an ITK composite of one affine and one displacement field ({error}): "
            "give a file that this app wrote"
        ) from error
    except OSError as error:
        if error.errno is None:
            raise DataError(
                f"{path} is no HDF5 file, or a truncated one: run the participant again"
            ) from error
        raise ReadWriteError(f"could not read {path} ({error.strerror}): check disk and rights") from error


def _read_composite(groups: h5py.Group) -> PointMap:
    """Read an open file; anything unexpected is a ValueError, KeyError or TypeError."""
    names = [_read_text(groups[str(number)]["TransformType"]).split("_", 1) for number in range(len(groups))]
    kinds = tuple(name for name, _ in names)
    orders = {(_COMPOSITE, *sequence): order for order, sequence in _SEQUENCES.items()}
    if kinds not in orders or any(ending not in {"double_3_3", "float_3_3"} for _, ending in names):
        raise ValueError(f"got {', '.join('_'.join(name) for name in names)}")
    linear, field = groups[str(kinds.index(_AFFINE))], groups[str(kinds.index(_FIELD))]
    if np.any(linear["TransformFixedParameters"][()]):
        raise ValueError("its affine turns about a centre that is not the origin")
    matrix = np.eye(4)
    parameters = linear["TransformParameters"][()]
    matrix[:3, :3], matrix[:3, 3] = parameters[:9].reshape(3, 3), parameters[9:]
    space = _read_space(field["TransformFixedParameters"][()])
    n_values = 3 * math.prod(space.shape)
    if field["TransformParameters"].shape != (n_values,):
        raise ValueError(f"{n_values} numbers must be in its field, got {field['TransformParameters'].shape}")
    vectors = np.asarray(field["TransformParameters"][()], np.float32).reshape(*space.shape[::-1], 3)
    displacement = np.ascontiguousarray((vectors * _FLIP).transpose(3, 2, 1, 0))
    if not np.isfinite(displacement).all():
        raise ValueError("its field is not finite")
    return PointMap(_LPS @ _checked_affine(matrix) @ _LPS, displacement, space, orders[kinds])


def _read_space(parameters: Float64[np.ndarray, " 18"]) -> Space:
    """Build the grid from ITK's size, origin, spacing and direction."""
    size, origin, spacing, direction = np.split(parameters, [3, 6, 9])
    if size.min() < 1 or math.prod(size.tolist()) > MAX_VOXELS:
        raise ValueError(f"its grid has the sizes {size.tolist()}")
    grid = np.eye(4)
    grid[:3, :3] = direction.reshape(3, 3) * spacing
    grid[:3, 3] = origin
    return Space((int(size[0]), int(size[1]), int(size[2])), _LPS @ grid)


def _checked_affine(affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """Return an affine that is finite, invertible and ends in (0, 0, 0, 1)."""
    is_affine = affine.shape == (4, 4) and np.isfinite(affine).all() and affine[3].tolist() == [0, 0, 0, 1]
    if not is_affine or not 1e-9 < abs(np.linalg.det(affine)) < math.inf:
        raise ShapeError(
            f"an affine must be an invertible 4 x 4 matrix ending in 0 0 0 1, got {affine.tolist()}"
        )
    return affine


def _write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write a text as ITK does: one ASCII string of any length."""
    group.create_dataset(name, data=[text], dtype=h5py.string_dtype("ascii"))


def _read_text(dataset: h5py.Dataset) -> str:
    """Read a text that ITK or `_write_text` wrote."""
    return str(dataset[0].decode("ascii"))


def _sidecar(*, image_from: str, image_to: str) -> dict[str, object]:
    """Tell the direction in words, the sentence every user looks for."""
    return {
        "Description": f"Resampling an image from {image_from} to {image_to} uses this file; "
        f"the same file maps points of {image_to} to {image_from}.",
        "FileFormat": "ITK composite transform (HDF5) of one affine and one displacement field; "
        "the field's grid lies in the atlas, beyond it ITK displaces nothing.",
        "Coordinates": "LPS+ world, as ITK has it",
        "Units": "mm",
        "Software": f"metsatlas {app_version()}",
    }

"""Signed distances to surfaces of the atlas, as the grey-white junction, where blood-borne cells lodge."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import KDTree

from bidsapp.atlas.seganat import structures
from bidsapp.errors import UsageError
from bidsapp.images.volume import Volume
from bidsapp.lesions.mapping import labels_at

WHITE, GREY, BACKGROUND = "Cerebral White Matter", "Cerebral Cortex", "Background"
VENTRICLES = ("Lateral Ventricle", "Inferior Lateral Ventricle", "3rd Ventricle", "4th Ventricle")

_NEIGHBOURS = 12
"""Of the nearest faces by midpoint, one is the nearest by surface."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The faces between two kinds of structures.

    Parameters
    ----------
    name
        In words.
    one, other
        Regions on either side of the faces.
    negative
        Regions in which distances are below 0.
    """

    name: str
    one: frozenset[str]
    other: frozenset[str]
    negative: frozenset[str]


def _surfaces() -> Mapping[str, Surface]:
    ventricles = frozenset(VENTRICLES)
    labelled = frozenset(each.region for each in structures()[1:])
    white, grey = frozenset({WHITE}), frozenset({GREY})
    return MappingProxyType(
        {
            "junction": Surface("grey-white matter junction of the cerebrum", white, grey, white),
            "pial": Surface("corticomeningeal interface", grey, frozenset({BACKGROUND}), labelled),
            "ventricle": Surface("wall of the ventricles", ventricles, labelled - ventricles, ventricles),
        }
    )


SURFACES: Mapping[str, Surface] = _surfaces()
"""junction: below 0 in cerebral white matter. pial: below 0 inside the brain. ventricle: below 0 in it."""


def surface_faces(
    labels: Volume, surface: str = "junction"
) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, " n"]]:
    """List the voxel faces of a surface.

    Faces, not voxels: a set of voxels would be two voxels thick.

    Parameters
    ----------
    labels
        SegAnat indices of the atlas.
    surface
        One of `SURFACES`.

    Returns
    -------
    midpoints, axes
        In voxel indices (fractional across the face), and the axis each face stands across.

    Raises
    ------
    UsageError
        If there is no such surface.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2 (distances to the junction and the corticomeningeal interface).
    """
    kind = _surface(surface)
    one, other = (np.isin(labels.data, _indices(regions)) for regions in (kind.one, kind.other))
    midpoints, axes = [], []
    for axis in range(3):
        low = tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))
        high = tuple(slice(1, None) if each == axis else slice(None) for each in range(3))
        between = np.argwhere((one[low] & other[high]) | (other[low] & one[high]))
        midpoints.append(between + np.eye(3)[axis] / 2)
        axes.append(np.full(len(between), axis))
    return np.concatenate(midpoints), np.concatenate(axes)


def surface_distances_mm(
    points_mm: Float64[np.ndarray, "n 3"], labels: Volume, surface: str = "junction"
) -> Float64[np.ndarray, " n"]:
    """Measure how far points lie from a surface, exactly (no rounding to voxels), with a sign.

    NaN for all points if the atlas does not have the surface.

    Parameters
    ----------
    points_mm
        Atlas world RAS+.
    labels
        SegAnat indices of the atlas; the axes of its grid are perpendicular.
    surface
        One of `SURFACES`, which also tells where distances are below 0.

    Raises
    ------
    UsageError
        If there is no such surface.
    """
    kind = _surface(surface)
    if not len(points_mm):
        return np.zeros(0)
    midpoints, axes = surface_faces(labels, surface)
    if not len(midpoints):
        return np.full(len(points_mm), np.nan)
    sizes = np.array(labels.space.voxel_sizes_mm)
    points = labels.space.world_to_voxel(points_mm) * sizes
    _, nearest = KDTree(midpoints * sizes).query(points, k=min(_NEIGHBOURS, len(midpoints)))
    nearest = nearest.reshape(len(points), -1)
    half = np.where(np.eye(3, dtype=bool), 0.0, sizes / 2)[axes[nearest]]
    apart = np.maximum(np.abs(points[:, None] - midpoints[nearest] * sizes) - half, 0.0)
    distances = np.sqrt((apart**2).sum(axis=2)).min(axis=1)
    is_negative = np.isin(labels_at(points_mm, labels), _indices(kind.negative))
    return np.asarray(np.where(is_negative, -distances, distances))


def junction_distances_mm(points_mm: Float64[np.ndarray, "n 3"], labels: Volume) -> Float64[np.ndarray, " n"]:
    """Measure how far points lie from the junction: below 0 in cerebral white matter, above 0 elsewhere.

    See `surface_distances_mm`.
    """
    return surface_distances_mm(points_mm, labels)


def _surface(name: str) -> Surface:
    if name not in SURFACES:
        raise UsageError(f"a surface is one of {', '.join(SURFACES)}, got {name!r}")
    return SURFACES[name]


def _indices(regions: frozenset[str]) -> list[int]:
    return [structure.index for structure in structures() if structure.region in regions]

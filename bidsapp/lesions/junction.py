"""Signed distances to surfaces of the atlas, as the grey-white junction, where blood-borne cells lodge."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64

from bidsapp.atlas.seganat import structures
from bidsapp.errors import UsageError
from bidsapp.images.volume import Volume
from bidsapp.lesions.faces import Faces, distances_to_faces_mm, label_faces
from bidsapp.lesions.mapping import labels_at

WHITE, GREY, BACKGROUND = "Cerebral White Matter", "Cerebral Cortex", "Background"
VENTRICLES = ("Lateral Ventricle", "Inferior Lateral Ventricle", "3rd Ventricle", "4th Ventricle")


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


def surface_faces(labels: Volume, surface: str = "junction") -> Faces:
    """List the voxel faces of a surface.

    Parameters
    ----------
    labels
        SegAnat indices of the atlas.
    surface
        One of `SURFACES`.

    Raises
    ------
    UsageError
        If there is no such surface.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2 (distances to the junction and the corticomeningeal interface).
    """
    kind = _surface(surface)
    faces, one, other = label_faces(labels), _indices(kind.one), _indices(kind.other)
    forth = np.isin(faces.low, one) & np.isin(faces.high, other)
    back = np.isin(faces.low, other) & np.isin(faces.high, one)
    return faces[forth | back]


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
    faces = surface_faces(labels, surface)
    if not len(faces):
        return np.full(len(points_mm), np.nan)
    voxels = labels.space.world_to_voxel(points_mm)
    distances = distances_to_faces_mm(voxels, faces, labels.space.voxel_sizes_mm)
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

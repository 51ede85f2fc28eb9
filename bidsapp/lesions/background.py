"""Background points: where lesions could have been, and what the atlas says about any place."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy.ndimage import binary_fill_holes, distance_transform_edt, map_coordinates

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.seganat import N_CLASSES, structures
from bidsapp.errors import DataError
from bidsapp.images.volume import Volume
from bidsapp.lesions.junction import surface_distances_mm
from bidsapp.lesions.mapping import labels_at
from bidsapp.lesions.perfusion import perfusion_at

HULL_CLOSING_MM = 5.0
"""Sulci up to twice this width count as inside the brain when the room for a lesion is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundPoints:
    """Points spread evenly over the structures of the atlas.

    Parameters
    ----------
    points_mm
        Atlas world RAS+, anywhere within their voxels.
    structures
        SegAnat index of each.
    depth_mm
        Distance to the outside of the brain, its sulci closed: the largest ball around the point that
        stays inside.
    """

    points_mm: Float64[np.ndarray, "n 3"]
    structures: Int64[np.ndarray, " n"]
    depth_mm: Float64[np.ndarray, " n"]

    @property
    def regions(self) -> np.ndarray:
        """Region of each point, left and right merged."""
        names = np.array([each.region for each in structures()], dtype=object)
        return np.asarray(names[self.structures])


def background_points(
    labels: Volume, n_points: int, rng: np.random.Generator, *, among: Collection[int] | None = None
) -> BackgroundPoints:
    """Spread points evenly over the structures of the atlas.

    Each point lies anywhere within a voxel drawn at random, so that distances are not those of voxel
    centres only.

    Parameters
    ----------
    labels
        SegAnat indices of the atlas.
    n_points
        How many.
    rng
        Source of chance.
    among
        SegAnat indices to keep to; by default all structures.

    Raises
    ------
    DataError
        If none of the structures is there.
    """
    kept = sorted(set(range(1, N_CLASSES) if among is None else among))
    voxels = np.flatnonzero(np.isin(labels.data, kept))
    if not len(voxels):
        raise DataError(f"the atlas must hold one of the structures {kept}, got none: check its labels")
    chosen = rng.choice(voxels, size=n_points)
    centres = np.stack(np.unravel_index(chosen, labels.space.shape), axis=1)
    index = centres + rng.uniform(-0.5, 0.5, size=centres.shape)
    points = labels.space.voxel_to_world(index)
    depth = map_coordinates(hull_depth_mm(labels), index.T, order=1, mode="nearest")
    found = labels.data.ravel()[chosen].astype(np.int64)
    return BackgroundPoints(points, found, np.asarray(depth, dtype=np.float64))


def hull_depth_mm(labels: Volume) -> Float64[np.ndarray, "i j k"]:
    """Measure the distance of each voxel to the outside of the brain, its sulci closed; 0 outside."""
    sizes = np.array(labels.space.voxel_sizes_mm)
    reach = np.ceil(HULL_CLOSING_MM / sizes).astype(int)
    inside = np.pad(labels.data > 0, [(n, n) for n in reach + 1])
    away = distance_transform_edt(~inside, sampling=sizes)
    grown = away <= HULL_CLOSING_MM
    closed = binary_fill_holes(distance_transform_edt(grown, sampling=sizes) > HULL_CLOSING_MM) | inside
    depth = distance_transform_edt(closed, sampling=sizes)
    kept = tuple(slice(n, -n) for n in reach + 1)
    return np.asarray(depth[kept], dtype=np.float64)


def sphere_radii_mm(volumes_mm3: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Radius of the ball of each volume.

    Examples
    --------
    >>> sphere_radii_mm(np.array([4 / 3 * np.pi * 8])).round(6).tolist()
    [2.0]
    """
    radii: np.ndarray = np.cbrt(3 * volumes_mm3 / (4 * np.pi))
    return radii


def covariates_at(points_mm: Float64[np.ndarray, "n 3"], atlas: AtlasPack) -> pd.DataFrame:
    """Look up what the atlas says about places.

    Parameters
    ----------
    points_mm
        Atlas world RAS+.
    atlas
        Territories and perfusion may be missing.

    Returns
    -------
    table
        One row a point: ``region``, ``tissue`` (grey, white, csf) and ``territory``, missing outside all;
        ``junction_distance_mm`` and ``pial_distance_mm``; ``perfusion``, NaN where unknown.
    """
    found = labels_at(points_mm, atlas.labels)
    regions = np.array([None, *(each.region for each in structures()[1:])], dtype=object)
    tissues = np.array([None, *(each.tissue for each in structures()[1:])], dtype=object)
    unknown = np.full(len(points_mm), np.nan)
    return pd.DataFrame(
        {
            "region": regions[found],
            "tissue": tissues[found],
            "junction_distance_mm": surface_distances_mm(points_mm, atlas.labels, "junction"),
            "pial_distance_mm": surface_distances_mm(points_mm, atlas.labels, "pial"),
            "perfusion": unknown if atlas.perfusion is None else perfusion_at(points_mm, atlas.perfusion),
            "territory": territories_at(points_mm, atlas),
        }
    )


def territories_at(points_mm: Float64[np.ndarray, "n 3"], atlas: AtlasPack) -> np.ndarray:
    """Name the arterial territory of each point; None outside all, or without a map."""
    names = np.full(len(points_mm), None, dtype=object)
    if atlas.territories is not None:
        codes = labels_at(points_mm, atlas.territories)
        for code in np.unique(codes[codes > 0]):
            names[codes == code] = atlas.territory_names[int(code)]
    return names

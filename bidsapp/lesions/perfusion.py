"""Blood flow at a lesion, and what balls of the same size would meet elsewhere in the brain."""

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bidsapp.images.volume import Volume

FINE_MM, COARSE_MM = 0.5, 1.0
"""Spacing of the points within a ball; the coarse one from a radius of 2.5 mm up."""

_CHUNK = 4_000_000


def perfusion_at(points_mm: Float64[np.ndarray, "n 3"], perfusion: Volume) -> Float64[np.ndarray, " n"]:
    """Read a map of blood flow at the voxel that holds each point; NaN where nothing is known.

    Nothing is known beyond the border of the map, where it is NaN, and where it is 0 or below: no
    living tissue has no flow.

    Parameters
    ----------
    points_mm
        Atlas world RAS+.
    perfusion
        On any grid of the same world frame.
    """
    index = np.floor(perfusion.space.world_to_voxel(points_mm) + 0.5).astype(np.int64)
    inside = ((index >= 0) & (index < perfusion.space.shape)).all(axis=1)
    flow = np.full(len(points_mm), np.nan)
    flow[inside] = perfusion.data[tuple(index[inside].T)]
    flow[~(flow > 0)] = np.nan
    return flow


def lesion_perfusion(points_mm: Float64[np.ndarray, "n 3"], perfusion: Volume | None) -> dict[str, float]:
    """Summarise the blood flow within a lesion; NaN where the map knows nothing of it.

    Parameters
    ----------
    points_mm
        Spread evenly over the lesion, atlas world RAS+.
    perfusion
        On any grid of the same world frame, or None.

    Returns
    -------
    row
        ``perfusion_median``, ``_min`` and ``_max`` over the known part of the lesion, in the unit of the
        map, and ``perfusion_fraction``, the share of the lesion that is known.

    References
    ----------
    Wielenberg et al. 2026, section 3.8.2 (median, minimum and maximum over the lesion).
    """
    names = ("perfusion_median", "perfusion_min", "perfusion_max", "perfusion_fraction")
    if perfusion is None or not len(points_mm):
        return dict.fromkeys(names, float("nan"))
    flow = perfusion_at(points_mm, perfusion)
    known = flow[np.isfinite(flow)]
    if not len(known):
        return dict(zip(names, (float("nan"), float("nan"), float("nan"), 0.0), strict=True))
    values = (np.median(known), known.min(), known.max(), len(known) / len(flow))
    return dict(zip(names, map(float, values), strict=True))


def ball_perfusion(
    centres_mm: Float64[np.ndarray, "n 3"], radius_mm: float, perfusion: Volume
) -> Float64[np.ndarray, "3 n"]:
    """Read median, least and largest flow within balls; NaN for balls less than half of which is known.

    Minimum and maximum spread with size, so lesions are compared with balls of their own size.

    Parameters
    ----------
    centres_mm
        Atlas world RAS+.
    radius_mm
        Of every ball.
    perfusion
        On any grid of the same world frame.
    """
    spacing = FINE_MM if radius_mm < 2.5 else COARSE_MM
    steps = np.arange(-np.floor(radius_mm / spacing), np.floor(radius_mm / spacing) + 1) * spacing
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[np.linalg.norm(offsets, axis=1) <= radius_mm]
    size = max(1, _CHUNK // len(offsets))
    found = []
    for start in range(0, len(centres_mm), size):
        here = centres_mm[start : start + size]
        flow = perfusion_at((here[:, None] + offsets).reshape(-1, 3), perfusion).reshape(len(here), -1)
        flow[np.isfinite(flow).mean(axis=1) < 0.5] = np.nan
        known = np.where(np.isfinite(flow).any(axis=1, keepdims=True), flow, 0.0)
        summary = np.stack([np.nanmedian(known, 1), np.nanmin(known, 1), np.nanmax(known, 1)])
        found.append(np.where(np.isfinite(flow).any(axis=1), summary, np.nan))
    return np.concatenate(found, axis=1) if found else np.zeros((3, 0))


def placed_balls(
    centres_mm: Float64[np.ndarray, "n 3"],
    depth_mm: Float64[np.ndarray, " n"],
    radii_mm: Float64[np.ndarray, " b"],
    perfusion: Volume,
    *,
    n_places: int = 1000,
) -> pd.DataFrame:
    """Read the flow that balls of given sizes meet at random places.

    Parameters
    ----------
    centres_mm, depth_mm
        Random places in the brain and the largest ball that fits around each
        (`bidsapp.lesions.background.background_points`). A ball too large for all of them is put at the
        deepest ones.
    radii_mm
        One a size bin.
    perfusion
        On any grid of the same world frame.
    n_places
        Balls of each size.

    Returns
    -------
    table
        One row a ball that the map knows: ``size_bin`` (position in `radii_mm`), ``median``, ``min``,
        ``max``.
    """
    deepest = np.argsort(-depth_mm, kind="stable")
    tables = []
    for size_bin, radius in enumerate(radii_mm):
        fits = np.flatnonzero(depth_mm >= radius)[:n_places]
        chosen = fits if len(fits) >= min(n_places, 20) else deepest[:20]
        summary = ball_perfusion(centres_mm[chosen], float(radius), perfusion)
        table = pd.DataFrame(summary.T, columns=["median", "min", "max"]).dropna()
        tables.append(table.assign(size_bin=size_bin))
    return pd.concat(tables, ignore_index=True)

"""All lesions of one scan as one table: one row a lesion, every column with its unit and its meaning."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

import numpy as np
import pandas as pd

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.seganat import structures
from bidsapp.geometry.space import Space
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.background import territories_at
from bidsapp.lesions.instances import Lesion
from bidsapp.lesions.junction import surface_distances_mm
from bidsapp.lesions.location_error import BorderMisfit, location_error_mm, spread_of_centres_mm
from bidsapp.lesions.mapping import OUTSIDE, Location, WarpedLesion, locate, warp_lesion
from bidsapp.lesions.perfusion import lesion_perfusion
from bidsapp.lesions.preservation import jacobian_ratio, volume_factor

LESION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "subject": "Participant label without sub-.",
        "session": "Session label without ses-; n/a for a participant without sessions.",
        "lesion": "Number of the lesion in its scan, 1 for the largest; its value in the instance maps.",
        "n_voxels": "Voxels of the lesion on the grid of its mask.",
        "native_volume_mm3": "Volume in the patient; what size analyses use.",
        "diameter_mm": "Diameter of the ball of the same native volume.",
        "size_class": "By native volume: micro < 25 mm3, small < 125, medium < 1000, large from 1000 up.",
        "native_x_mm": "Centre of gravity in the patient, world RAS+, towards the right.",
        "native_y_mm": "Centre of gravity in the patient, world RAS+, towards the front.",
        "native_z_mm": "Centre of gravity in the patient, world RAS+, towards the top.",
        "atlas_x_mm": "Centre of gravity in atlas world space (see centroid_source), towards the right.",
        "atlas_y_mm": "Centre of gravity in atlas world space (see centroid_source), towards the front.",
        "atlas_z_mm": "Centre of gravity in atlas world space (see centroid_source), towards the top.",
        "centroid_source": "mask: centre of gravity of the warped lesion; point: the warped native centre, "
        "because nothing of the lesion arrived in the atlas.",
        "point_x_mm": "The native centre of gravity, sent to the atlas as a point, towards the right.",
        "point_y_mm": "The native centre of gravity, sent to the atlas as a point, towards the front.",
        "point_z_mm": "The native centre of gravity, sent to the atlas as a point, towards the top.",
        "centroid_discrepancy_mm": "Distance between both kinds of centre; n/a if nothing arrived.",
        "location_error_mm": "Standard error of the place in the atlas along each axis: root of the sum of "
        "the squares of (a) the median distance by which borders of structures within 15 mm of the lesion "
        "miss those of the atlas, times 1.4826, (b) over root 3, the root mean square distance by which the "
        "lesion's voxels are missed on the way to the atlas and back, (c) over root 3, "
        "centroid_discrepancy_mm, (d) repeat_spread_mm, where known; n/a without borders, and for masks "
        "that were in atlas space already.",
        "repeat_spread_mm": "Standard deviation of the centre of gravity along each axis over alignments "
        "repeated from perturbed starts (--location-ensemble); n/a if none was asked for.",
        "affine_volume_mm3": "Volume after the affine step: native volume over the affine's volume ratio.",
        "atlas_volume_mm3": "Volume after the deformable step, partial voxels counted in part; 0 if lost.",
        "volume_factor": "atlas_volume_mm3 / affine_volume_mm3: 1 preserved, below 1 shrunk.",
        "jacobian_ratio": "Mean growth inside the lesion over mean growth in the brain within 10 mm of it: "
        "below 1 it shrinks more than its surroundings; n/a if nothing surrounds it.",
        "structure_centroid": "SegAnat structure at the centre of gravity; n/a outside all structures.",
        "structure_nearest": "The same, or the nearest structure within 3 mm; n/a if there is none.",
        "structure_majority": "Structure with the largest share of the lesion; n/a outside all.",
        "region_centroid": "structure_centroid with left and right merged (19 regions).",
        "region_nearest": "structure_nearest with left and right merged.",
        "region_majority": "structure_majority with left and right merged.",
        "hemisphere": "left or right by structure_nearest, none for midline structures; "
        "n/a if there is none.",
        "outside_fraction": "Share of the warped lesion outside all structures.",
        "overlap": "JSON: share of the warped lesion in each structure and outside, adding up to 1.",
        "junction_distance_mm": "Distance of the centre of gravity to the border of cerebral cortex and "
        "cerebral white matter; below 0 in the white matter.",
        "pial_distance_mm": "Distance of the centre of gravity to the border of cerebral cortex and the "
        "outside of the brain; below 0 inside the brain.",
        "territory": "Arterial territory at the centre of gravity; n/a outside all, or without a map.",
        "territory_overlap": "JSON: share of the warped lesion in each territory and outside, adding up to "
        "1; n/a without a map.",
        "perfusion_median": "Median blood flow of the warped lesion, in the unit of the map; n/a where the "
        "map knows nothing of it, or without a map.",
        "perfusion_min": "Least blood flow of the warped lesion, likewise.",
        "perfusion_max": "Largest blood flow of the warped lesion, likewise.",
        "perfusion_fraction": "Share of the warped lesion whose blood flow is known; n/a without a map.",
    }
)

_OF_REGISTRATION = (
    *("location_error_mm", "repeat_spread_mm"),
    *("affine_volume_mm3", "volume_factor", "jacobian_ratio"),
)


@dataclass(frozen=True, slots=True)
class LesionScan:
    """The lesions of one scan and what they were drawn on.

    Parameters
    ----------
    subject
        Label without "sub-".
    session
        Label without "ses-", or None.
    lesions
        As found by `bidsapp.lesions.instances.find_lesions`.
    space
        Grid of the lesion mask.
    brain
        SegAnat labels, guessed inside the lesions, on any grid in the patient's world; or None.
    """

    subject: str
    session: str | None
    lesions: tuple[Lesion, ...]
    space: Space
    brain: Volume | None = None


def lesion_table(
    scan: LesionScan, alignment: Alignment, atlas: AtlasPack, repeats: Iterable[Alignment] = ()
) -> pd.DataFrame:
    """Measure every lesion of a scan in the patient and in the atlas.

    Parameters
    ----------
    scan
        The lesions; none of them gives a table without rows, and nothing is repeated.
    alignment
        From the atlas (fixed) to the patient (moving).
    atlas
        Its labels name the structures.
    repeats
        The same alignment found from other starts, one by one.

    Returns
    -------
    table
        One row a lesion; the columns are those of `LESION_COLUMNS`.
    """
    if not scan.lesions:
        return empty_lesion_table()
    voxels = [scan.space.voxel_to_world(each.voxels.astype(np.float64)) for each in scan.lesions]
    borders = None
    if scan.brain is not None:
        borders = BorderMisfit.of(scan.brain, atlas.labels, alignment, np.concatenate(voxels))
    spreads = spread_of_centres_mm(scan.lesions, chain([alignment], repeats))
    rows = []
    for lesion, points, spread in zip(scan.lesions, voxels, spreads, strict=True):
        warped = warp_lesion(lesion, scan.space, alignment, atlas.labels.space)
        misfit = borders.near(points) if borders else np.nan
        trip = float(np.sqrt((alignment.round_trip_mm(points) ** 2).mean()))
        error = location_error_mm(misfit, trip, warped.discrepancy_mm, float(spread))
        sure = {"location_error_mm": error, "repeat_spread_mm": float(spread)}
        rows.append(_row(lesion, scan, warped, atlas) | sure | _preservation(lesion, scan, warped, alignment))
    return _finished(rows, atlas)


def atlas_space_table(scans: Iterable[LesionScan], atlas: AtlasPack) -> pd.DataFrame:
    """Measure lesions whose masks are in atlas space already, as `lesion_table` does for native ones.

    Nothing is known of the patient's own space: native volumes and centres are those in the atlas, and how
    sure their places are and how well the registration kept them (affine volume, volume factor, Jacobian
    ratio) is missing.

    Parameters
    ----------
    scans
        On the grid of the atlas; taken one by one, so they may be read on the way.
    atlas
        Its labels name the structures.
    """
    rows = []
    for scan in scans:
        for lesion in scan.lesions:
            points = scan.space.voxel_to_world(lesion.voxels.astype(np.float64))
            warped = WarpedLesion(points, lesion.volume_mm3, lesion.centre_mm)
            rows.append(_row(lesion, scan, warped, atlas) | dict.fromkeys(_OF_REGISTRATION, np.nan))
    return _finished(rows, atlas)


def empty_lesion_table() -> pd.DataFrame:
    """Make a lesion table without rows, its columns of the right kind.

    Examples
    --------
    >>> empty_lesion_table()["volume_factor"].dtype, len(empty_lesion_table())
    (dtype('float64'), 0)
    """
    return pd.DataFrame({name: pd.Series(dtype=_kind(name)) for name in LESION_COLUMNS})


def _kind(name: str) -> str:
    if name in ("lesion", "n_voxels"):
        return "int64"
    numbers = ("_mm", "_mm3", "_factor", "_ratio", "_fraction", "_median", "_min", "_max")
    return "float64" if name.endswith(numbers) else "object"


def _finished(rows: list[dict[str, object]], atlas: AtlasPack) -> pd.DataFrame:
    """Make a table of the rows, distances measured for all of them at once."""
    if not rows:
        return empty_lesion_table()
    table = pd.DataFrame(rows)
    centres = table[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].to_numpy(np.float64)
    for surface in ("junction", "pial"):
        table[f"{surface}_distance_mm"] = surface_distances_mm(centres, atlas.labels, surface)
    return table[list(LESION_COLUMNS)]


def _row(lesion: Lesion, scan: LesionScan, warped: WarpedLesion, atlas: AtlasPack) -> dict[str, object]:
    return {
        "subject": scan.subject,
        "session": scan.session,
        "lesion": lesion.index,
        "n_voxels": len(lesion.voxels),
        "native_volume_mm3": lesion.volume_mm3,
        "diameter_mm": lesion.diameter_mm,
        "size_class": lesion.size_class,
        **_position("native", lesion.centre_mm),
        **_position("atlas", warped.centre_mm),
        "centroid_source": warped.source,
        **_position("point", warped.point_mm),
        "centroid_discrepancy_mm": warped.discrepancy_mm,
        "atlas_volume_mm3": warped.volume_mm3,
        **_anatomy(locate(warped, atlas.labels)),
        **_territory(warped, atlas),
        **lesion_perfusion(_points(warped), atlas.perfusion),
    }


def _preservation(
    lesion: Lesion, scan: LesionScan, warped: WarpedLesion, alignment: Alignment
) -> dict[str, object]:
    return {
        "affine_volume_mm3": lesion.volume_mm3 / float(abs(np.linalg.det(alignment.affine[:3, :3]))),
        "volume_factor": volume_factor(lesion.volume_mm3, warped.volume_mm3, alignment.affine),
        "jacobian_ratio": jacobian_ratio(lesion, scan.lesions, scan.space, alignment, scan.brain),
    }


def _anatomy(location: Location) -> dict[str, object]:
    found = {
        "centroid": location.centroid,
        "nearest": location.nearest,
        "majority": location.majority,
    }
    named = {rule: structures()[index] if index else None for rule, index in found.items()}
    nearest = named["nearest"]
    return {
        **{f"structure_{rule}": each.name if each else None for rule, each in named.items()},
        **{f"region_{rule}": each.region if each else None for rule, each in named.items()},
        "hemisphere": nearest.hemisphere if nearest else None,
        "outside_fraction": location.overlap.get(OUTSIDE, 0.0),
        "overlap": location.overlap_text,
    }


def _territory(warped: WarpedLesion, atlas: AtlasPack) -> dict[str, object]:
    if atlas.territories is None:
        return {"territory": None, "territory_overlap": None}
    names = territories_at(_points(warped), atlas)
    shares = pd.Series(names, dtype=object).fillna(OUTSIDE).value_counts(normalize=True)
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return {
        "territory": territories_at(warped.centre_mm[None], atlas)[0],
        "territory_overlap": json.dumps({str(name): round(share, 4) for name, share in ordered}),
    }


def _points(warped: WarpedLesion) -> np.ndarray:
    """Points of the warped lesion, or its one point where nothing of it arrived."""
    return warped.points_mm if len(warped.points_mm) else warped.point_mm[None]


def _position(frame: str, point_mm: np.ndarray) -> dict[str, object]:
    return {f"{frame}_{axis}_mm": float(value) for axis, value in zip("xyz", point_mm, strict=True)}

"""What places lesions prefer beyond regions: surfaces, arteries, blood flow, and all of these at once."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from bidsapp.atlas.pack import AtlasPack
from bidsapp.atlas.seganat import structures
from bidsapp.atlas.territories import (
    LEVELS,
    UNKNOWN_TERRITORIES,
    WITHOUT_TERRITORIES,
    has_known_territories,
    territory_volumes,
    unit_of,
)
from bidsapp.lesions.background import BackgroundPoints, background_points, covariates_at, sphere_radii_mm
from bidsapp.lesions.junction import surface_distances_mm
from bidsapp.lesions.mapping import labels_at
from bidsapp.lesions.perfusion import placed_balls
from bidsapp.lesions.soft_membership import soft_region_table
from bidsapp.lesions.territories import patient_territory_fractions, territory_lesions
from bidsapp.statistics.distances import DistanceAnalysis, analyse_distances
from bidsapp.statistics.jitter import jitter_table
from bidsapp.statistics.perfusion import WITHOUT_PERFUSION, perfusion_by_site, perfusion_table
from bidsapp.statistics.placement import group_chance, size_bins, size_chance, uniform_chance
from bidsapp.statistics.point_process import AdjustedModel, adjusted_model
from bidsapp.statistics.positions import PositionTest, position_test
from bidsapp.statistics.strata import StratumAnalysis, analyse_stratum
from bidsapp.statistics.volumes import VolumeAnalysis, size_class_table, volume_by_region

SURFACES: Mapping[str, str] = {"junction": "junction_distance_mm", "pial": "pial_distance_mm"}
"""Surface to the column of the lesion table with the distance to it."""

LOCATION_ERROR_MM = 1.0
"""Standard error of a place of which the registration says nothing: the paper's rounded surface distance."""

WITHOUT_ERROR = (
    "Of {} lesions the location error is not known (their masks were in atlas space already, or no border "
    "lies near them): soft counts take 1 mm."
)

N_PLACES = 200_000
N_MODEL_PLACES = 20_000
CENTRE = ["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]


@dataclass(frozen=True)
class PlaceAnalysis:
    """All tests of places.

    Parameters
    ----------
    distances
        By surface.
    position
        Places in three dimensions.
    volumes
        Do lesions of some regions grow larger.
    size_classes
        Lesions of each size class in each region.
    territories
        By level: territory, artery, circulation; empty without a map.
    territory_fractions
        Share of each artery in each patient's lesion volume; without rows if there is no map.
    perfusion, perfusion_by_site
        Blood flow within lesions against chance, and its means by centre; without rows if there is no map.
    jitter
        Sensitivity of the counts to random shifts of every centre of gravity, as in the paper.
    soft_counts
        Counts in which each lesion belongs to regions by the probability that it lies in them, given its
        own location error, or 1 mm where it is not known.
    model
        Rate ratios, all explanations together.
    skipped
        What was not analysed, why, and how to get what it needs.
    """

    distances: Mapping[str, DistanceAnalysis]
    position: PositionTest
    volumes: VolumeAnalysis
    size_classes: pd.DataFrame
    territories: Mapping[str, StratumAnalysis]
    territory_fractions: pd.DataFrame
    perfusion: pd.DataFrame
    perfusion_by_site: pd.DataFrame
    jitter: pd.DataFrame
    soft_counts: pd.DataFrame
    model: AdjustedModel
    skipped: tuple[str, ...]


def analyse_places(
    lesions: pd.DataFrame, atlas: AtlasPack, *, seed: int, n_places: int = N_PLACES
) -> PlaceAnalysis:
    """Compare the places of lesions with places spread evenly over the atlas.

    Parameters
    ----------
    lesions
        One row a lesion: columns of `bidsapp.lesions.table.LESION_COLUMNS` and ``region``.
    atlas
        Territories and perfusion may be missing.
    seed
        Every test has a stream of chance of its own, made from this and its name.
    n_places
        Places that stand for the atlas.
    """
    everywhere = background_points(atlas.labels, n_places, stream(seed, "places"))
    territories, fractions, skipped = _territories(lesions, atlas)
    perfusion, by_site, without_perfusion = _perfusion(lesions, everywhere, atlas, seed)
    regions = list(dict.fromkeys(each.region for each in structures()[1:]))
    points = lesions[CENTRE].to_numpy(np.float64)
    inside = lesions[lesions["region"].notna()]
    errors = lesions["location_error_mm"].astype(np.float64)
    unknown = [WITHOUT_ERROR.format(errors.isna().sum())] if errors.isna().any() else []
    return PlaceAnalysis(
        distances={surface: _distances(inside, everywhere, atlas, surface, seed) for surface in SURFACES},
        position=position_test(
            inside[CENTRE].to_numpy(np.float64),
            everywhere.points_mm,
            inside["subject"].to_numpy(),
            stream(seed, "position"),
        ),
        volumes=volume_by_region(lesions, regions, stream(seed, "volumes")),
        size_classes=size_class_table(lesions, regions),
        territories=territories,
        territory_fractions=fractions,
        perfusion=perfusion,
        perfusion_by_site=by_site,
        jitter=jitter_table(points, partial(_regions_at, atlas=atlas), regions, stream(seed, "jitter")),
        soft_counts=soft_region_table(points, errors.fillna(LOCATION_ERROR_MM).to_numpy(), atlas.labels),
        model=_model(lesions, everywhere, atlas),
        skipped=(*skipped, *without_perfusion, *unknown),
    )


def stream(seed: int, name: str) -> np.random.Generator:
    """Make a test's own source of chance: adding another test changes none of its numbers."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _distances(
    lesions: pd.DataFrame, everywhere: BackgroundPoints, atlas: AtlasPack, surface: str, seed: int
) -> DistanceAnalysis:
    """Compare the distances to one surface with three kinds of chance, all of them places in structures."""
    pool = surface_distances_mm(everywhere.points_mm, atlas.labels, surface)
    known = lesions[lesions[SURFACES[surface]].notna()] if np.isfinite(pool).any() else lesions.iloc[:0]
    pool = pool if np.isfinite(pool).any() else np.zeros(len(pool))
    radii = sphere_radii_mm(known["native_volume_mm3"].to_numpy(np.float64))
    return analyse_distances(
        known[SURFACES[surface]].to_numpy(np.float64),
        {
            "uniform": uniform_chance(pool, len(known)),
            "region": group_chance(pool, everywhere.regions, known["region"].to_numpy()),
            "size": size_chance(pool, everywhere.depth_mm, radii),
        },
        known["subject"].to_numpy(),
        stream(seed, f"distance {surface}"),
    )


def _territories(
    lesions: pd.DataFrame, atlas: AtlasPack
) -> tuple[dict[str, StratumAnalysis], pd.DataFrame, tuple[str, ...]]:
    """Test arterial territories as regions are tested, as far as the map allows."""
    if atlas.territories is None:
        return {}, pd.DataFrame(), (WITHOUT_TERRITORIES,)
    levels = LEVELS if has_known_territories(atlas) else LEVELS[:1]
    found = {
        level: analyse_stratum(territory_lesions(lesions, level), territory_volumes(atlas, level))
        for level in levels
    }
    if len(levels) == 1:
        return found, pd.DataFrame(), (UNKNOWN_TERRITORIES,)
    return found, patient_territory_fractions(lesions), ()


def _perfusion(
    lesions: pd.DataFrame, everywhere: BackgroundPoints, atlas: AtlasPack, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Compare blood flow within lesions with that of balls of their sizes, and between centres."""
    if atlas.perfusion is None:
        return pd.DataFrame(), pd.DataFrame(), (WITHOUT_PERFUSION,)
    if not len(lesions):
        return pd.DataFrame(), pd.DataFrame(), ()
    bins, radii = size_bins(sphere_radii_mm(lesions["atlas_volume_mm3"].to_numpy(np.float64)))
    balls = placed_balls(everywhere.points_mm, everywhere.depth_mm, radii, atlas.perfusion)
    table = perfusion_table(lesions, balls, bins, stream(seed, "perfusion"))
    return table, perfusion_by_site(lesions), ()


def _regions_at(points_mm: np.ndarray, atlas: AtlasPack) -> np.ndarray:
    """Name the region of each point; None outside all."""
    names = np.array([None, *(each.region for each in structures()[1:])], dtype=object)
    return np.asarray(names[labels_at(points_mm, atlas.labels)])


def _model(lesions: pd.DataFrame, everywhere: BackgroundPoints, atlas: AtlasPack) -> AdjustedModel:
    """Weigh tissue, surfaces, perfusion and arteries against each other."""
    inside = lesions[lesions["region"].notna()]
    here = _explanations(inside[CENTRE].to_numpy(np.float64), atlas)
    there = _explanations(everywhere.points_mm[:N_MODEL_PLACES], atlas)
    return adjusted_model(here, there, inside["subject"].reset_index(drop=True))


def _explanations(points_mm: np.ndarray, atlas: AtlasPack) -> pd.DataFrame:
    table = covariates_at(points_mm, atlas).drop(columns="region")
    units = [unit_of(name, "group") if isinstance(name, str) else None for name in table["territory"]]
    return table.assign(territory=pd.Series([unit[0] if unit else None for unit in units], dtype=object))

"""The tables of the group: their names, their columns, and what made them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bidsapp.analysis.places import PlaceAnalysis
from bidsapp.analysis.regions import RegionAnalysis
from bidsapp.bids.names import group_path, sidecar_path
from bidsapp.bids.save import save_json, save_table
from bidsapp.lesions.soft_membership import SOFT_COLUMNS
from bidsapp.statistics.distances import CURVE_COLUMNS, DISTANCE_COLUMNS
from bidsapp.statistics.influence import INFLUENCE_COLUMNS, WITHOUT_CENTRE_COLUMNS
from bidsapp.statistics.jitter import JITTER_COLUMNS
from bidsapp.statistics.perfusion import PERFUSION_COLUMNS, SITE_COLUMNS
from bidsapp.statistics.point_process import MODEL_COLUMNS
from bidsapp.statistics.power import POWER_COLUMNS
from bidsapp.statistics.strata import REGION_COLUMNS
from bidsapp.statistics.volumes import SIZE_COLUMNS, VOLUME_COLUMNS

OPTIONAL = (
    "regions_site_*",
    "without_centre",
    "territories_*",
    "territory_fractions",
    "perfusion*",
)
"""Tables that another cohort, or the same with another atlas, may not have."""


@dataclass(frozen=True)
class GroupTable:
    """One table of the group.

    Parameters
    ----------
    name
        Of its file, without ending.
    table
        Its rows.
    columns
        Column name to one sentence.
    """

    name: str
    table: pd.DataFrame
    columns: Mapping[str, str]


def region_tables(regions: RegionAnalysis) -> list[GroupTable]:
    """List the tables of what regions findings hang on; those of the strata are named by their centres."""
    found = [
        GroupTable("influence", regions.influence, INFLUENCE_COLUMNS),
        GroupTable("power", regions.power, POWER_COLUMNS),
    ]
    if len(regions.without_centres):
        found.append(GroupTable("without_centre", regions.without_centres, WITHOUT_CENTRE_COLUMNS))
    return found


def place_tables(places: PlaceAnalysis) -> list[GroupTable]:
    """List the tables of places."""
    found = [
        GroupTable("rate_ratios", places.model.table, MODEL_COLUMNS),
        GroupTable("volumes", places.volumes.table, VOLUME_COLUMNS),
        GroupTable("sizes", places.size_classes, SIZE_COLUMNS),
        GroupTable("jitter", places.jitter, JITTER_COLUMNS),
        GroupTable("soft_counts", places.soft_counts, SOFT_COLUMNS),
    ]
    if len(places.perfusion):
        found.append(GroupTable("perfusion", places.perfusion, PERFUSION_COLUMNS))
        found.append(GroupTable("perfusion_by_site", places.perfusion_by_site, SITE_COLUMNS))
    for surface, analysis in places.distances.items():
        found.append(GroupTable(f"distance_{surface}", analysis.table, DISTANCE_COLUMNS))
        found.append(GroupTable(f"distance_{surface}_curve", analysis.curves, CURVE_COLUMNS))
    for level, stratum in places.territories.items():
        found.append(GroupTable(f"territories_{level}", stratum.regions, REGION_COLUMNS))
    if len(places.territory_fractions):
        table = places.territory_fractions.reset_index()
        share = "Share of the patient's lesion volume in the territory of this artery."
        columns = {"subject": "The patient.", "outside": "Share in ventricles and beyond the map."}
        columns |= {str(name): share for name in table.columns if name not in columns}
        found.append(GroupTable("territory_fractions", table, columns))
    return found


def save_tables(tables: Sequence[GroupTable], output_dir: Path, provenance: Mapping[str, str]) -> None:
    """Write each table with its JSON, which also says what made it; optional ones of former runs go."""
    written = set()
    for each in tables:
        path = group_path(output_dir, each.name)
        save_table(each.table, path, each.columns)
        notes = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        save_json({**notes, "Provenance": provenance}, sidecar_path(path))
        written.add(path)
    for pattern in OPTIONAL:
        for path in group_path(output_dir, "any").parent.glob(f"{pattern}.tsv"):
            if path not in written:
                path.unlink()
                sidecar_path(path).unlink(missing_ok=True)

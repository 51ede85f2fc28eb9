"""The sections of the cohort's page that not every cohort has."""

from bidsapp.analysis.places import PlaceAnalysis
from bidsapp.analysis.regions import RegionAnalysis
from bidsapp.reports.place_sections import (
    distance_section,
    model_section,
    perfusion_section,
    sensitivity_section,
    territory_section,
    volume_section,
)
from bidsapp.reports.robustness_sections import power_section, robustness_section
from bidsapp.reports.section import Section


def group_sections(
    regions: RegionAnalysis | None, places: PlaceAnalysis | None, *, virtual: bool
) -> tuple[Section, ...]:
    """Write the sections of what was analysed; what was not has none."""
    found = []
    if regions is not None:
        found += [robustness_section(regions), power_section(regions)]
    if places is not None:
        found += [distance_section(places, virtual=virtual), model_section(places.model, virtual=virtual)]
        if places.territories:
            found.append(territory_section(places, virtual=virtual))
        if len(places.perfusion):
            found.append(perfusion_section(places))
        found += [volume_section(places), sensitivity_section(places)]
    return tuple(found)

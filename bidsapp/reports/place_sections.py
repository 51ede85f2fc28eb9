"""The sections of the cohort's page on places: surfaces, arteries, blood flow, volumes, sensitivity."""

from bidsapp.analysis.places import PlaceAnalysis
from bidsapp.reports.charts import region_picture
from bidsapp.reports.cohort_words import counted, listed, p_phrase
from bidsapp.reports.page import Cell, Column, Table, cell, is_missing, p_cell, table
from bidsapp.reports.place_charts import NULL_WORDS, curve_picture, ratio_picture
from bidsapp.reports.section import CaptionedTable, Section, group_file
from bidsapp.statistics.point_process import AdjustedModel
from bidsapp.statistics.positions import PositionTest
from bidsapp.statistics.ranks import RankTest
from bidsapp.statistics.strata import StratumAnalysis

SURFACE_WORDS = {
    "junction": "the border of cerebral cortex and white matter (below 0 in the white matter)",
    "pial": "the outer surface of the cortex (below 0 in the cortex and deeper)",
}
LEVEL_WORDS = {"circulation": "Circulations", "group": "Arteries", "territory": "Territories"}


def distance_section(places: PlaceAnalysis, *, virtual: bool) -> Section:
    """Compare distances to surfaces, and positions, with chance."""
    pictures, tables = [], []
    for surface, analysis in places.distances.items():
        if len(analysis.curves):
            pictures.append(
                curve_picture(analysis.curves, f"Distance to the {surface} surface", virtual=virtual)
            )
        rows = [_distance_row(row) for row in analysis.table.to_dict("records")]
        headings = ("Chance puts a lesion", "Mean, mm", "By chance, mm", "Difference, mm", "95 % interval")
        p_headings = ("p, distance (EMD)", "p, mean", "p, curve", "p (EMD), independent")
        tables.append(
            CaptionedTable(
                f"Distance to {SURFACE_WORDS[surface]}. p-values by rank among random cohorts, with the "
                "lesions of a patient as alike as measured unless said otherwise.",
                Table(tuple((each, False) for each in (*headings, *p_headings)), tuple(rows)),
                source=group_file(f"distance_{surface}"),
            )
        )
    first = (
        "A preference for a region is a preference for its distances, too. Only what remains when chance "
        "puts each lesion anywhere in its own region says something new."
    )
    return Section(
        "distances", "Distances", "Distances to surfaces", (first, position_sentence(places.position)),
        tuple(pictures), tuple(tables),
    )  # fmt: skip


def _distance_row(row: dict[object, object]) -> tuple[Cell, ...]:
    low, high = row["mean_difference_low_mm"], row["mean_difference_high_mm"]
    interval = Cell("n/a", "", is_number=False) if is_missing(low) else cell(f"{low:.2f} to {high:.2f}")
    names = ("emd_p_value", "mean_p_value", "curve_p_value", "independent_emd_p_value")
    return (
        cell(NULL_WORDS.get(str(row["null"]), row["null"])),
        *(cell(row[name], 2) for name in ("mean_distance_mm", "expected_distance_mm", "mean_difference_mm")),
        interval,
        *(p_cell(row[name], row["reason"]) for name in names),
    )


def position_sentence(test: PositionTest) -> str:
    """Report the test of positions in three dimensions."""
    start = "Positions in three dimensions (earth mover's distance, one lesion of each patient)"
    if test.p_value is None:
        return f"{start}: not tested ({test.reason})."
    return (
        f"{start}: {test.emd_mm:.1f} mm to random places, {test.emd_chance_mm:.1f} mm between random places, "
        f"p {p_phrase(test.p_value)} ({counted(test.n_points, 'lesion')})."
    )


def model_section(model: AdjustedModel, *, virtual: bool) -> Section:
    """Show the rate ratios of all explanations together."""
    took_part = (
        f"{counted(model.n_lesions, 'lesion')} of {counted(model.n_patients, 'patient')} against "
        f"{counted(model.n_background, 'place')} spread evenly over the brain; intervals from errors that "
        "sum over patients first."
    )
    sentences = [took_part if not model.reason else f"Not estimated: {model.reason}."]
    if model.left_out:
        sentences.append(f"Left out: {'; '.join(model.left_out)}.")
    if model.caution:
        sentences.append(f"Caution: {model.caution}.")
    if model.reason:
        return Section("model", "Rate ratios", "All explanations together", tuple(sentences))
    labels = [f"{row['term']}: {row['compared']}" for row in model.table.to_dict("records")]
    labels = [label.replace("_distance_mm", "").replace("_", " ") for label in labels]
    rows = [
        (
            cell(label),
            cell(row["rate_ratio"], 2),
            cell(f"{row['rate_ratio_low']:.2f} to {row['rate_ratio_high']:.2f}"),
            p_cell(row["p_value"], ""),
            p_cell(row["holm_p_value"], ""),
        )
        for label, row in zip(labels, model.table.to_dict("records"), strict=True)
    ]
    headings = ("Explanation", "Rate ratio", "95 % interval", "p", "p, Holm")
    strong = tuple(place for place, p in enumerate(model.table["holm_p_value"]) if p < 0.05)
    shown = Table(tuple((each, each == "Rate ratio") for each in headings), tuple(rows))
    caption = "How many times as many lesions in the same volume."
    return Section(
        "model", "Rate ratios", "All explanations together", tuple(sentences),
        (ratio_picture(model.table, labels, "Rate ratios", virtual=virtual),),
        (CaptionedTable(caption, shown, strong, source=group_file("rate_ratios")),),
    )  # fmt: skip


def territory_section(places: PlaceAnalysis, *, virtual: bool) -> Section:
    """Show arterial territories as regions are shown."""
    pictures, tables = [], []
    for level in ("circulation", "group", "territory"):
        if level in places.territories:
            stratum = places.territories[level]
            title = f"{LEVEL_WORDS[level]}: measured against expected"
            pictures.append(region_picture(stratum.regions, title, virtual=virtual))
            tables.append(_territory_table(level, stratum))
    sentences = ["Tested as regions are, with the volumes of the territories; ventricles are left out."]
    shares = places.territory_fractions.mean() if len(places.territory_fractions) else None
    if shares is not None:
        words = [f"{name} {100 * share:.0f} %" for name, share in shares.sort_values(ascending=False).items()]
        sentences.append(
            f"Mean share of each artery in a patient's lesion volume: {listed(words)} "
            f"({counted(len(places.territory_fractions), 'patient')})."
        )
    return Section(
        "territories", "Arteries", "Arterial territories", tuple(sentences), tuple(pictures), tuple(tables)
    )


def _territory_table(level: str, stratum: StratumAnalysis) -> CaptionedTable:
    rows = []
    for row in stratum.regions.sort_values("n_expected", ascending=False).to_dict("records"):
        low, high = row["clustered_ratio_low"], row["clustered_ratio_high"]
        interval = cell(None) if is_missing(low) else cell(f"{low:.2f} to {high:.2f}")
        paper = row["bonferroni_p_value"] if row["tested"] else None
        rows.append(
            (
                cell(row["region"]),
                cell(row["n_observed"]),
                cell(row["n_expected"], 1),
                cell(row["ratio"], 2),
                interval,
                p_cell(paper, row["reason"]),
                p_cell(row["clustered_bonferroni_p_value"], row["clustered_reason"]),
            )
        )
    headings = ("Territory", "Measured", "Expected", "Ratio", "95 % interval", "p, paper preset")
    shown = Table(
        (*((each, each in headings[1:4]) for each in headings), ("p, patients kept together", False)),
        tuple(rows),
    )
    source = group_file(f"territories_{level}")
    return CaptionedTable(f"{LEVEL_WORDS[level]}.", shown, folded=level == "territory", source=source)


def perfusion_section(places: PlaceAnalysis) -> Section:
    """Compare blood flow within lesions with chance and between centres."""
    columns = (
        Column("quantity", "Within the lesion"),
        Column("n_lesions", "Lesions"),
        Column("mean", "Mean", 2),
        Column("expected", "By chance", 2),
        Column("difference", "Difference", 2),
    )
    shown = table(places.perfusion, columns)
    names = {"p_value": "reason", "independent_p_value": "reason", "centres_p_value": "centres_reason"}
    rows = [
        (*row, *(p_cell(record[name], record[reason]) for name, reason in names.items()))
        for row, record in zip(shown.rows, places.perfusion.to_dict("records"), strict=True)
    ]
    headings = (("p", False), ("p, independent", False), ("p between centres", False))
    caption = "Chance: balls of the lesions' sizes at random places with room for them. Unit of the map."
    both = Table((*shown.headings, *headings), tuple(rows))
    tables = [CaptionedTable(caption, both, source=group_file("perfusion"))]
    if len(places.perfusion_by_site):
        site = tuple(
            Column(str(name), str(name).replace("_", " "), None if name in ("site", "n_lesions") else 2)
            for name in places.perfusion_by_site.columns
        )
        by_site, source = table(places.perfusion_by_site, site), group_file("perfusion_by_site")
        tables.append(CaptionedTable("By centre.", by_site, folded=True, source=source))
    return Section("perfusion", "Blood flow", "Blood flow", (), (), tuple(tables))


def sensitivity_section(places: PlaceAnalysis) -> Section:
    """Show how counts change when places are uncertain; none of it is an interval of the counts."""
    both = places.jitter.merge(places.soft_counts[["region", "n_soft"]], on="region", how="left")
    columns = (
        Column("region", "Region"),
        Column("n_observed", "Measured"),
        Column("jitter_mean", "Mean, shifted", 1),
        Column("jitter_low", "2.5 %"),
        Column("jitter_high", "97.5 %"),
        Column("n_soft", "Soft count", 1),
    )
    sentence = (
        "Sensitivity, no intervals: every centre of gravity is shifted at random by 1.0 ± 0.5 mm, 100 times, "
        "as in the paper. Noise added to measured places pulls counts towards neighbouring regions, so the "
        "range may leave the measured count out. The soft count gives each lesion to regions by the "
        "probability that it lies in them, given its own location error (1 mm where that is not known)."
    )
    source = group_file("jitter")
    return Section(
        "sensitivity", "Sensitivity", "Sensitivity to the place", (sentence,), (),
        (CaptionedTable("By centre of gravity.", table(both, columns), folded=True, source=source),),
    )  # fmt: skip


def volume_section(places: PlaceAnalysis) -> Section:
    """Say whether lesions of some regions are larger."""
    columns = (
        Column("region", "Region"),
        Column("n_lesions", "Lesions"),
        Column("median_volume_mm3", "Median volume, mm³", 0),
        Column("ratio", "Ratio to the others", 2),
    )
    frame = places.volumes.table
    shown = table(frame, columns)
    rows = []
    for row, record in zip(shown.rows, frame.to_dict("records"), strict=True):
        low, high = record["ratio_low"], record["ratio_high"]
        interval = cell(None) if is_missing(low) else cell(f"{low:.2f} to {high:.2f}")
        rows.append((*row, interval, p_cell(record["holm_p_value"], record["reason"])))
    both = Table((*shown.headings, ("95 % interval", False), ("p, Holm", False)), tuple(rows))
    sizes = table(
        places.size_classes, tuple(Column(str(name), str(name)) for name in places.size_classes.columns)
    )
    return Section(
        "volumes", "Volumes", "Volume and place", (kruskal_sentence(places.volumes.kruskal),), (),
        (
            CaptionedTable(
                "Geometric mean volume against all other lesions, patients as clusters.",
                both,
                source=group_file("volumes"),
            ),
            CaptionedTable("Lesions of each size class.", sizes, folded=True, source=group_file("sizes")),
        ),
    )  # fmt: skip


def kruskal_sentence(test: RankTest) -> str:
    """Report whether volumes differ between regions."""
    start = "Volumes between regions"
    if test.p_value is None:
        return f"{start}: not tested ({test.reason})."
    text = f"{start} (Kruskal-Wallis): p {p_phrase(test.p_value)} with every lesion independent"
    if test.permutation_p_value is None:
        return f"{text}; patients kept together: not tested ({test.reason})."
    return f"{text}, p {p_phrase(test.permutation_p_value)} with patients kept together."

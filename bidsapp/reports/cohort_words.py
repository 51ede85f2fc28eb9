"""What a cohort's numbers say, in plain sentences with their caveats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bidsapp.reports.page import p_text
from bidsapp.statistics.clustered import FEW_PATIENTS
from bidsapp.statistics.hemispheres import HemisphereTest
from bidsapp.statistics.regions import ChiSquareTest


def counted(number: int, noun: str) -> str:
    """Write a number with its noun.

    Examples
    --------
    >>> counted(1, "lesion"), counted(3, "lesion")
    ('1 lesion', '3 lesions')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", "\u202f")


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _found(regions: pd.DataFrame, *, above: bool, column: str) -> pd.DataFrame:
    """Pick the significant regions of one direction, the strongest first."""
    direction = regions["ratio"] > 1 if above else regions["ratio"] < 1
    chosen = regions[regions[column].astype(bool) & direction]
    return chosen.sort_values("ratio", ascending=not above)


def _named(regions: pd.DataFrame) -> str:
    """Name regions with their counts."""
    return listed(
        [
            f"{row['region']} ({row['n_observed']} measured, {row['n_expected']:.1f} expected, ratio "
            f"{row['ratio']:.2f})"
            for row in regions.to_dict("records")
        ]
    )


VERDICT_COLUMNS = {"clustered": "clustered_significant", "paper": "significant"}
PRESET_WORDS = {
    "clustered": "with the lesions of a patient kept together",
    "paper": "by the paper preset, every lesion independent",
}


VERDICT_NAMES = {
    "clustered": "Lesions of a patient kept together",
    "paper": "Paper preset: every lesion independent",
}


def summary_sentence(
    n_patients: int, n_lesions: int, regions: pd.DataFrame, *, preset: str = "clustered"
) -> str:
    """Say where lesions sit more or less often than volume explains, by one of the two analyses.

    Parameters
    ----------
    n_patients, n_lesions
        Used ones.
    regions
        Table of the whole cohort: ``region``, ``n_observed``, ``n_expected``, ``ratio``,
        ``clustered_significant``, ``significant``.
    preset
        "clustered" or "paper": whose verdict.
    """
    start = f"{counted(n_patients, 'patient')} with {counted(n_lesions, 'lesion')} entered the analysis."
    if n_lesions == 0:
        return f"{start} There is nothing to test."
    return f"{start} {verdict_sentence(regions, preset)}"


def verdict_sentence(regions: pd.DataFrame, preset: str) -> str:
    """Say what one of the two analyses finds."""
    more = _found(regions, above=True, column=VERDICT_COLUMNS[preset])
    fewer = _found(regions, above=False, column=VERDICT_COLUMNS[preset])
    if more.empty and fewer.empty:
        if not was_tested(regions, preset):
            return f"Nothing could be tested ({PRESET_WORDS[preset]})."
        return (
            "In no region did the number of lesions differ significantly from its volume's share "
            f"({PRESET_WORDS[preset]})."
        )
    parts = []
    if not more.empty:
        parts.append(f"more often than volume explains in {_named(more)}")
    if not fewer.empty:
        parts.append(
            f"less often in {_named(fewer)}"
            if parts
            else f"less often than volume explains in {_named(fewer)}"
        )
    return f"Lesions sit {', and '.join(parts)} ({PRESET_WORDS[preset]})."


def was_tested(regions: pd.DataFrame, preset: str) -> bool:
    """Tell whether one of the two analyses tested any region at all."""
    tested = regions["clustered_p_value"].notna() if preset == "clustered" else regions["tested"]
    return bool(tested.astype(bool).any())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one of the two analyses finds: regions with more lesions, and with fewer; empty for none."""

    name: str
    more: str
    fewer: str


def both_verdicts(regions: pd.DataFrame, leading: str) -> tuple[Verdict, ...]:
    """Put the verdicts of both presets side by side, the leading one first."""
    found = []
    for preset in sorted(VERDICT_COLUMNS, key=lambda each: each != leading):
        more, fewer = (
            _found(regions, above=above, column=VERDICT_COLUMNS[preset]) for above in (True, False)
        )
        named = [_named(each) if len(each) else "" for each in (more, fewer)]
        found.append(Verdict(VERDICT_NAMES[preset], *named))
    return tuple(found)


def caveats(n_patients: int, n_lesions: int, regions: pd.DataFrame) -> list[str]:
    """List what the reader must know before quoting the summary."""
    found = []
    paper, clustered = regions["significant"].astype(bool), regions["clustered_significant"].astype(bool)
    only_paper = regions.loc[paper & ~clustered, "region"]
    if len(only_paper):
        found.append(
            "Significant only if every lesion counts as independent: "
            f"{listed([str(name) for name in only_paper])}. "
            "Lesions of one patient resemble each other; do not quote these as findings."
        )
    if 0 < n_patients < FEW_PATIENTS:
        found.append(f"With {counted(n_patients, 'patient')} only very strong preferences can show.")
    n_off = n_lesions - int(regions["n_observed"].sum())
    if n_off > 0:
        found.append(
            f"{counted(n_off, 'lesion')} with the centre outside all structures took no part in the tests of "
            "regions."
        )
    found.append(
        "Expected counts come from the volumes of the atlas; they do not know a patient's atrophy, nor "
        "that the centre "
        "of a large lesion cannot lie in a thin structure."
    )
    found.append(
        "That a region is not significant does not show that it is spared: small regions have little power."
    )
    return found


def degrees_of_freedom(test: ChiSquareTest) -> str:
    """Tell how many a test has that was made."""
    return f"{counted(test.degrees_of_freedom or 0, 'degree')} of freedom"


def omnibus_sentence(test: ChiSquareTest) -> str:
    """Report the test over all regions at once."""
    if test.p_value is None:
        return f"All regions at once: not tested ({test.reason or 'no reason given'})."
    return (
        f"All regions at once: chi-square {test.chi2:.1f}, {degrees_of_freedom(test)}, "
        f"p {p_phrase(test.p_value)} (every lesion taken as independent)."
    )


def hemisphere_sentence(test: HemisphereTest) -> str:
    """Report the test of left against right."""
    start = f"Left and right: {test.n_left} and {test.n_right} lesions"
    if test.p_value is None or test.expected_left_fraction is None:
        return f"{start}, not tested ({test.reason or 'no reason given'})."
    expected = 100 * test.expected_left_fraction
    text = f"{start}, {expected:.1f} % expected on the left, p {p_phrase(test.p_value)} (exact binomial)"
    if test.clustered_p_value is None:
        return f"{text}."
    return f"{text}, p {p_phrase(test.clustered_p_value)} with the lesions of each patient kept together."


def p_phrase(value: float) -> str:
    """Write a p-value as a sentence does.

    Examples
    --------
    >>> p_phrase(0.2), p_phrase(1e-9)
    ('= 0.20', '< 0.0001')
    """
    text = p_text(value)
    return text if text.startswith(("<", "n")) else f"= {text}"


def verdicts(row: Mapping[str, object]) -> str:
    """Say which of the two analyses finds a region significant."""
    paper, clustered = bool(row["significant"]), bool(row["clustered_significant"])
    if paper and clustered:
        return "both"
    if clustered:
        return "clustered only"
    return "paper preset only" if paper else "neither"

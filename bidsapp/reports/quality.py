"""One strip of dots a measure, one dot a patient: who differs from the others, and the way to the page."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from bidsapp.reports.charts import plain
from bidsapp.reports.cohort_tables import patient_links
from bidsapp.reports.page import cell, is_missing

MEASURES = (
    ("dice_mean", "Mean Dice", 2),
    ("volume_factor_median", "Median volume factor", 2),
    ("n_lesions", "Lesions", 0),
)
FENCE = 1.5
FEWEST = 8
MOST_DOTS = 600
LEFT, RIGHT, ROW, TOP = 190.0, 980.0, 34.0, 26.0
MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class Dot:
    """A patient in a strip: place in the drawing, words, page, and whether far from the others."""

    x: float
    y: float
    text: str
    link: str
    is_outlier: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One centre of a strip: name, height in the drawing, and its quartiles across it."""

    name: str
    y: float
    quartiles: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Strip:
    """One measure over all patients.

    Parameters
    ----------
    title
        What is measured.
    height
        Of the drawing.
    ticks
        Place and text of each mark below it.
    rows, dots
        Centres, and patients.
    outliers
        The dots far from the others, the farthest first.
    sentence
        What counts as far.
    """

    title: str
    height: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]
    dots: tuple[Dot, ...]
    outliers: tuple[Dot, ...]
    sentence: str


def strips(patients: pd.DataFrame) -> tuple[Strip, ...]:
    """Draw each measure that the table of patients holds, over the patients used."""
    linked = patients.assign(link=patient_links(patients))
    used = linked[linked["status"] == "used"]
    found = []
    for name, title, digits in MEASURES:
        known = used[used[name].notna()] if name in used.columns else used.head(0)
        if len(known):
            found.append(_strip(known, known[name].to_numpy(np.float64), title, digits))
    return tuple(found)


def far_from_the_others(
    values: Float64[np.ndarray, " patients"],
) -> tuple[Bool[np.ndarray, " patients"], float, float]:
    """Mark values beyond 1.5 interquartile ranges from the quartiles; none among fewer than 8.

    Returns
    -------
    is_far, low, high
        The marks, and the two fences.

    References
    ----------
    Tukey 1977, Exploratory Data Analysis, section 2D.

    Examples
    --------
    >>> far_from_the_others(np.array([1.0, 2, 2, 3, 3, 4, 4, 20]))[0].tolist()[-2:]
    [False, True]
    """
    low, high = (float(each) for each in np.quantile(values, [0.25, 0.75]))
    reach = FENCE * (high - low)
    low, high = low - reach, high + reach
    is_far = ((values < low) | (values > high)) & (len(values) >= FEWEST)
    return is_far, low, high


def _strip(
    patients: pd.DataFrame, values: Float64[np.ndarray, " patients"], title: str, digits: int
) -> Strip:
    is_far, fence_low, fence_high = far_from_the_others(values)
    ticks = _ticks(float(values.min()), float(values.max()))
    ends = (ticks[0], ticks[-1])
    centres = _centres(patients)
    names = list(dict.fromkeys(sorted(centres, key=lambda name: (-centres.count(name), name))))[:MOST_ROWS]
    heights = {name: TOP + ROW * (number + 0.5) for number, name in enumerate(names)}
    rows = []
    for name in names:
        inside = np.array([centre == name for centre in centres])
        low, middle, high = (_across(each, ends) for each in np.quantile(values[inside], [0.25, 0.5, 0.75]))
        rows.append(Row(plain(name), heights[name], (low, middle, high)))
    dots: list[Dot] = []
    for number, record in enumerate(patients.to_dict("records")):
        value, far = float(values[number]), bool(is_far[number])
        if centres[number] in heights and (far or len(values) <= MOST_DOTS):
            y = round(
                heights[centres[number]] + (centres[:number].count(centres[number]) * 7 % 11 - 5) * 1.7, 1
            )
            text = f"{record['participant']}: {cell(value, digits).text}"
            dots.append(Dot(_across(value, ends), y, text, str(record["link"]), far))
    typical = _across(float(np.median(values)), ends)
    outliers = sorted((dot for dot in dots if dot.is_outlier), key=lambda dot: -abs(dot.x - typical))
    sentence = f"Far from the others: below {fence_low:.2f} or above {fence_high:.2f}."
    if len(values) < FEWEST:
        sentence = f"Fewer than {FEWEST} patients: nobody is called far from the others."
    marks = tuple((_across(tick, ends), f"{tick:g}") for tick in ticks)
    return Strip(title, TOP + ROW * len(names), marks, tuple(rows), tuple(dots), tuple(outliers), sentence)


def _centres(patients: pd.DataFrame) -> list[str]:
    """Name each patient's centre; with a single one, all patients are one row."""
    sites = patients["site"].tolist() if "site" in patients.columns else []
    named = ["no centre" if is_missing(site) else str(site) for site in sites]
    return named if len(set(named)) > 1 else ["All patients"] * len(patients)


def _across(value: float, ends: tuple[float, float]) -> float:
    """Place a value between the ends of the drawing."""
    return round(LEFT + (RIGHT - LEFT) * (float(value) - ends[0]) / (ends[1] - ends[0]), 1)


def _ticks(low: float, high: float) -> list[float]:
    """Choose round numbers that hold all values.

    Examples
    --------
    >>> _ticks(0.62, 0.93)
    [0.6, 0.7, 0.8, 0.9, 1.0]
    """
    spread = max(high - low, 1e-3 * max(abs(low), abs(high), 1.0))
    power = 10.0 ** np.floor(np.log10(spread))
    step = next(power * each for each in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if spread / (power * each) <= 6)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return [float(f"{step * number:.12g}") for number in range(first, max(last, first + 1) + 1)]

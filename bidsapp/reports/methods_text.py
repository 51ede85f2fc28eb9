"""Methods paragraphs with references, ready to be pasted into a paper."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from bidsapp.reports.references import REFERENCES, Reference


@dataclass(frozen=True, slots=True)
class MethodsText:
    """Paragraphs and the works they cite."""

    paragraphs: tuple[str, ...]
    references: tuple[Reference, ...]

    @property
    def markdown(self) -> str:
        """The text with its list of references."""
        entries = "\n".join(f"- {reference.full}" for reference in self.references)
        return "\n\n".join(self.paragraphs) + "\n\n## References\n\n" + entries + "\n"

    @property
    def html(self) -> str:
        """The text with its list of references, as HTML."""
        paragraphs = "\n".join(f"<p>{escape(paragraph)}</p>" for paragraph in self.paragraphs)
        entries = "\n".join(f"<li>{escape(reference.full)}</li>" for reference in self.references)
        return f"{paragraphs}\n<h2>References</h2>\n<ul>\n{entries}\n</ul>\n"

    @property
    def latex(self) -> str:
        """The text for LaTeX with natbib, its citations pointing into `bibtex`."""
        keys = {reference.short: reference.key for reference in REFERENCES.values()}
        names = "|".join(re.escape(short) for short in keys)
        in_brackets = re.compile(rf"\(((?:{names})(?:; (?:{names}))*)\)")
        in_text = re.compile(rf"{re.escape(_PAPER_IN_TEXT)}")

        def cite(match: re.Match[str]) -> str:
            return "\\citep{" + ",".join(keys[short] for short in match[1].split("; ")) + "}"

        cited = (
            in_text.sub(r"\\citet{wielenberg2026}", in_brackets.sub(cite, _latex(paragraph)))
            for paragraph in self.paragraphs
        )
        return "\n\n".join(cited) + "\n"

    @property
    def bibtex(self) -> str:
        """The references for a .bib file."""
        return "\n\n".join(reference.bibtex for reference in self.references) + "\n"


_PAPER_IN_TEXT = "Wielenberg et al. (2026)"
_LATEX_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
}


def _latex(text: str) -> str:
    """Write a text so that LaTeX shows it as it is."""
    return "".join(_LATEX_SPECIAL.get(letter, letter) for letter in text)


def _cite(*keys: str) -> str:
    return "(" + "; ".join(REFERENCES[key].short for key in keys) + ")"


def _text(paragraphs: Iterable[str], keys: Iterable[str]) -> MethodsText:
    return MethodsText(tuple(paragraphs), tuple(REFERENCES[key] for key in keys))


def _with(methods: Mapping[str, object], key: str, sentence: str) -> str:
    """Return a sentence only if the run has told the value it needs."""
    return f" {sentence.format(methods[key])}" if key in methods else ""


def participant_methods(methods: Mapping[str, object], *, has_lesion: bool) -> MethodsText:
    """Write how one scan was aligned.

    Parameters
    ----------
    methods
        ``version`` and ``atlas`` are needed; the sentences about ``label_source``, ``spacing_mm``,
        ``iterations``, ``smoothness_weight``, ``curvature_weight``, ``volume_weight`` and ``device`` appear
        when the key is there. ``objective``, "overlap" if it is not, says what was lowered;
        ``compares_images``, True if it is not, whether the T1-weighted images had a say;
        ``parameterisation``, "field" if it is not, what was moved;
        ``lesion_handling``, "mask" if it is not, what kept lesions as large as they are, and ``suspected_ml``
        how much was taken for lesions without a mask; ``levels_lesions``, False if it is not (results of
        earlier versions), whether the last touch was theirs.
    has_lesion
        Whether there was a lesion mask.
    """
    start = (
        f"The T1-weighted scan was aligned to the atlas {methods['atlas']} {_cite('fonov2011')} with "
        "MetsAtlas "
        f"{methods['version']}, a BIDS App {_cite('gorgolewski2017')} that follows the approach of "
        f"Wielenberg et al. (2026)."
        + _with(methods, "label_source", "Anatomical labels came from {}.")
        + f" Labels were translated to 34 structures {_cite('fischl2002')}; structures absent from the "
        "atlas or the "
        "patient took no part."
    )
    is_paper = methods.get("objective", "overlap") == "paper"
    core = (
        "An affine transform was fitted to the structures, followed by a diffeomorphic deformation "
        "given by a "
        f"stationary velocity field, integrated by scaling and squaring {_cite('arsigny2006')}; the "
        f"displacement is a cubic B-spline {_cite('unser1999')} on the velocity's grid, and its inverse was "
        "found by Newton steps."
        + _with(methods, "spacing_mm", "The finest velocity grid had a spacing of {} mm.")
        + _with(methods, "iterations", "The optimisation took {} iterations.")
        + (_PAPER_OBJECTIVE if is_paper else _overlap_objective(methods, has_lesion=has_lesion))
        + _suspicion(methods, is_paper=is_paper)
    )
    if has_lesion:
        core += (
            " Lesions were separated in native space (26-connectivity) and each carried to the atlas; "
            "the volume "
            "factor is the volume after the deformable step divided by that after the affine step."
        )
    end = (
        "The patient's image was sampled once, through both transforms. Overlap is given as Dice "
        "coefficient, border "
        "agreement as average symmetric surface distance, regularity as share of voxels with a "
        "non-positive Jacobian "
        "determinant." + _with(methods, "device", "Computed on {}.")
    )
    of_images = ("avants2008",) if methods.get("compares_images", True) else ()
    of_overlap = () if is_paper else ("milletari2016", *of_images)
    keys = ("wielenberg2026", "arsigny2006", "unser1999", *of_overlap, "fonov2011", "fischl2002")
    return _text((start, core, end), (*keys, "gorgolewski2017"))


_PAPER_OBJECTIVE = (
    " The objective was that of Wielenberg et al. (2026): correlation of the label maps' distance maps, a "
    "smoothness term and a volume-preservation term."
)


def _overlap_objective(methods: Mapping[str, object], *, has_lesion: bool) -> str:
    """Write what was lowered, unless it was the paper's objective."""
    is_masked = has_lesion and methods.get("lesion_handling", "mask") == "mask"
    without = ", lesions left out" if is_masked else ""
    images = (
        "the squared local correlation of the T1-weighted scan with the template in boxes of 5 voxels along "
        f"each axis{without} {_cite('avants2008')}; "
        if methods.get("compares_images", True)
        else ""
    )
    return (
        " The objective, looked at from the atlas and from the patient in turn, was the soft Dice overlap of "
        f"the structures {_cite('milletari2016')}, each weighted by the square root of its volume plus 40 % "
        f"of the mean of these roots; {images}the mean squared gradient and curvature of the velocity; and "
        "the variance of the log Jacobian determinant within each structure."
        + _with(methods, "smoothness_weight", "The gradient had the weight {}.")
        + _with(methods, "curvature_weight", "The curvature had the weight {} mm².")
        + _with(methods, "volume_weight", "The volume-preservation term had the weight {}.")
        + (_spared(methods) if is_masked else "")
    )


def _spared(methods: Mapping[str, object]) -> str:
    """Write what is done with lesions, masked or suspected, when our objective is lowered."""
    moved = (
        "Inside them every change of the velocity was the harmonic continuation of its change in the 3 mm "
        "around. "
        if methods.get("parameterisation", "field") == "field"
        else ""
    )
    levelled = (
        " Last, a divergence was added to the velocity in each lesion with which its mean growth is that of "
        "the 10 mm of brain around it."
        if methods.get("levels_lesions", False)
        else ""
    )
    return (
        f" The labels of lesions were compared with nothing. {moved}A further term tied their growth to that "
        f"of the tissue within 10 to 16 mm, the farther the larger the lesion.{levelled}"
    )


def _suspicion(methods: Mapping[str, object], *, is_paper: bool) -> str:
    """Write what was spared without a mask, if the run looked for it and has told."""
    if methods.get("lesion_handling") != "volume" or "suspected_ml" not in methods:
        return ""
    if not methods["suspected_ml"]:
        return " No lesion mask steered the alignment, and no body unlike its label was found."
    return (
        f" No lesion mask steered the alignment; bodies unlike their label, {methods['suspected_ml']:.3g} ml "
        "together, were taken for lesions: they were given the labels of the tissue around them."
        + ("" if is_paper else _spared(methods))
    )


_PLACES = {
    "exclude": "A lesion belongs to the structure that holds its centre of gravity; those with the centre "
    "outside all structures took no part in the tests of regions.",
    "nearest": "A lesion belongs to the structure that holds its centre of gravity or, with the centre "
    "outside all structures, to the nearest structure within 3 mm; those farther away took no part in the "
    "tests of regions.",
    "overlap": "A lesion belongs to the structure that holds the largest share of it; those that touch no "
    "structure took no part in the tests of regions.",
}
"""Policy for lesions outside all structures to the rule that places every lesion."""


def group_methods(methods: Mapping[str, object]) -> MethodsText:
    """Write how the cohort was analysed.

    Parameters
    ----------
    methods
        ``version`` and ``atlas`` are needed; ``alpha`` and ``minimum_count`` add their sentences.
        ``off_structure``, "exclude" if it is not there, says which structure a lesion belongs to,
        ``lesions_in_atlas_space``, False if not, whether another program had aligned the masks, and
        ``maps``, True if not, whether there is a frequency map.
    """
    atlas = f"the atlas {methods['atlas']} {_cite('fonov2011')}"
    app = f"MetsAtlas {methods['version']} {_cite('wielenberg2026')}"
    if methods.get("lesions_in_atlas_space", False):
        origin = f"All patients' lesion masks lay in {atlas} already; lesions were counted there with {app}."
    else:
        origin = f"Lesions of all patients were carried to {atlas} with {app}."
    first = (
        f"{origin} {_PLACES[str(methods.get('off_structure', 'exclude'))]} Left and right structures were "
        "merged into regions. The expected number of lesions of a region is its share of the atlas' volume "
        "times the number of lesions with a region."
    )
    second = (
        "Two analyses are reported side by side. The paper preset compares measured and expected counts "
        "region by "
        "region with a two-cell chi-square test (one degree of freedom), which takes every lesion as "
        "independent."
        + _with(methods, "minimum_count", "Regions with fewer than {} lesions were not tested.")
        + _with(methods, "alpha", "The family-wise level was {} (Bonferroni).")
        + " The clustered analysis keeps the lesions of a patient together: the count of a patient is "
        "beta-binomial "
        f"with an intraclass correlation estimated from pairs of lesions {_cite('ridout1999')} and, for "
        "the tests, by maximum likelihood under the null hypothesis, whichever is larger, the count of the "
        "cohort their convolution; it is corrected for every region that has a volume."
    )
    third = "Intervals of the ratio of measured to expected are Wilson intervals."
    if methods.get("maps", True):
        third += " The frequency map counts every patient at most once per voxel."
    keys = ("wielenberg2026", "fonov2011", "ridout1999", "fischl2002", "gorgolewski2017")
    return _text((first, second, third), keys)

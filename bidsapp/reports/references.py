"""The works that methods paragraphs cite."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """One work: how it is named in the text, in the list and in BibTeX."""

    key: str
    short: str
    full: str
    bibtex: str


def _bib(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}"


def _article(key: str, short: str, journal: str, pages: str, fields: Mapping[str, str]) -> Reference:
    """Make a reference whose list entry is built from its BibTeX fields."""
    authors = fields["author"].split(" and ")
    first = authors[0] if len(authors) == 1 else f"{authors[0]} et al."
    full = f"{first} ({fields['year']}). {fields['title']}. {journal}, {pages}. doi:{fields['doi']}"
    return Reference(key, short, full, _bib("article", key, {**fields, "journal": journal, "pages": pages}))


REFERENCES: Mapping[str, Reference] = {
    "wielenberg2026": Reference(
        "wielenberg2026",
        "Wielenberg et al., 2026",
        "Wielenberg et al. (2026). Deep-Learning Atlas Registration for Melanoma Brain Metastases. "
        "arXiv:2602.12933. doi:10.48550/arXiv.2602.12933",
        _bib(
            "misc",
            "wielenberg2026",
            {
                "author": "Wielenberg and others",
                "title": "Deep-Learning Atlas Registration for Melanoma Brain Metastases",
                "year": "2026",
                "eprint": "2602.12933",
                "archiveprefix": "arXiv",
                "doi": "10.48550/arXiv.2602.12933",
            },
        ),
    ),
    "arsigny2006": Reference(
        "arsigny2006",
        "Arsigny et al., 2006",
        "Arsigny, V. et al. (2006). A Log-Euclidean Framework for Statistics on Diffeomorphisms. "
        "MICCAI 2006, 924-931. doi:10.1007/11866565_113",
        _bib(
            "inproceedings",
            "arsigny2006",
            {
                "author": "Arsigny, Vincent and Commowick, Olivier and Pennec, Xavier and Ayache, Nicholas",
                "title": "A Log-Euclidean Framework for Statistics on Diffeomorphisms",
                "booktitle": "Medical Image Computing and Computer-Assisted Intervention - MICCAI 2006",
                "pages": "924--931",
                "year": "2006",
                "doi": "10.1007/11866565_113",
            },
        ),
    ),
    "avants2008": _article(
        "avants2008",
        "Avants et al., 2008",
        "Medical Image Analysis 12(1)",
        "26-41",
        {
            "author": "Avants, Brian B. and Epstein, Charles L. and Grossman, Murray and Gee, James C.",
            "title": "Symmetric diffeomorphic image registration with cross-correlation: Evaluating "
            "automated labeling of elderly and neurodegenerative brain",
            "year": "2008",
            "doi": "10.1016/j.media.2007.06.004",
        },
    ),
    "milletari2016": Reference(
        "milletari2016",
        "Milletari et al., 2016",
        "Milletari, F. et al. (2016). V-Net: Fully Convolutional Neural Networks for Volumetric Medical "
        "Image Segmentation. 3DV 2016, 565-571. doi:10.1109/3DV.2016.79",
        _bib(
            "inproceedings",
            "milletari2016",
            {
                "author": "Milletari, Fausto and Navab, Nassir and Ahmadi, Seyed-Ahmad",
                "title": "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image "
                "Segmentation",
                "booktitle": "2016 Fourth International Conference on 3D Vision (3DV)",
                "pages": "565--571",
                "year": "2016",
                "doi": "10.1109/3DV.2016.79",
            },
        ),
    ),
    "unser1999": _article(
        "unser1999",
        "Unser, 1999",
        "IEEE Signal Processing Magazine 16(6)",
        "22-38",
        {
            "author": "Unser, Michael",
            "title": "Splines: a perfect fit for signal and image processing",
            "year": "1999",
            "doi": "10.1109/79.799930",
        },
    ),
    "fonov2011": _article(
        "fonov2011",
        "Fonov et al., 2011",
        "NeuroImage 54(1)",
        "313-327",
        {
            "author": "Fonov, Vladimir and Evans, Alan C. and Botteron, Kelly and Almli, C. Robert and "
            "McKinstry, Robert C. and Collins, D. Louis",
            "title": "Unbiased average age-appropriate atlases for pediatric studies",
            "year": "2011",
            "doi": "10.1016/j.neuroimage.2010.07.033",
        },
    ),
    "fischl2002": _article(
        "fischl2002",
        "Fischl et al., 2002",
        "Neuron 33(3)",
        "341-355",
        {
            "author": "Fischl, Bruce and Salat, David H. and Busa, Evelina and Albert, Marilyn and "
            "Dieterich, Megan and Haselgrove, Christian and others",
            "title": "Whole brain segmentation: automated labeling of neuroanatomical structures in the "
            "human brain",
            "year": "2002",
            "doi": "10.1016/S0896-6273(02)00569-X",
        },
    ),
    "gorgolewski2017": _article(
        "gorgolewski2017",
        "Gorgolewski et al., 2017",
        "PLOS Computational Biology 13(3)",
        "e1005209",
        {
            "author": "Gorgolewski, Krzysztof J. and Alfaro-Almagro, Fidel and Auer, Tibor and others",
            "title": "BIDS apps: Improving ease of use, accessibility, and reproducibility of "
            "neuroimaging data analysis methods",
            "year": "2017",
            "doi": "10.1371/journal.pcbi.1005209",
        },
    ),
    "ridout1999": _article(
        "ridout1999",
        "Ridout et al., 1999",
        "Biometrics 55(1)",
        "137-148",
        {
            "author": "Ridout, Martin S. and Demetrio, Clarice G. B. and Firth, David",
            "title": "Estimating intraclass correlation for binary data",
            "year": "1999",
            "doi": "10.1111/j.0006-341X.1999.00137.x",
        },
    ),
}

"""What the derivative dataset says about itself: description, README, what validators skip, what to cite."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from bidsapp.bids.names import Kind
from bidsapp.bids.save import save_json, save_text, sweep
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space

logger = logging.getLogger(__name__)

BIDS_VERSION = "1.10.0"
MNI_2009 = "https://www.bic.mni.mcgill.ca/ServicesAtlases/ICBM152NLin2009"
BIDSIGNORE = "*.html\nlogs\nfigures\nlog\ngroup\n*_xfm.*\n*_metrics.*\n"

CITATION = """\
# What to cite

The method and the analysis of the group:

- Wielenberg et al. 2026. Deep-Learning Atlas Registration for Melanoma Brain Metastases.
  https://doi.org/10.48550/arXiv.2602.12933

The embedded atlas, MNI152NLin2009aSym:

- Fonov et al. 2011. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 54, 313-327.
  https://doi.org/10.1016/j.neuroimage.2010.07.033

How inputs and outputs are arranged:

- Gorgolewski et al. 2016. The brain imaging data structure, a format for organizing and describing outputs of
  neuroimaging experiments. Scientific Data 3, 160044. https://doi.org/10.1038/sdata.2016.44
- Gorgolewski et al. 2017. BIDS Apps: Improving ease of use, accessibility, and reproducibility of
  neuroimaging data analysis methods. PLOS Computational Biology 13, e1005209. https://doi.org/10.1371/journal.pcbi.1005209
"""

README = """\
# {name}

Patients' T1-weighted images, labels and lesions, aligned to an atlas by MetsAtlas {version}.

- `sub-<label>.html`: one page a scan; look at it before you use the numbers.
- `sub-<label>/anat/`: images in atlas space, transforms in both directions, tables of measurements.
- `group.html`, `group/`: where lesions sit, over all patients.
- `logs/CITATION.md`: what to cite.

`from-T1w_to-<atlas>` resamples a patient's image onto the atlas; the same file maps points of the atlas to
the patient. Every table has a JSON file that explains its columns and their units.
"""

_IMAGES: Mapping[Kind, Mapping[str, object]] = MappingProxyType(
    {
        Kind.WARPED_T1W: {
            "Description": "T1-weighted image, resampled once onto the atlas; intensities as in the source.",
            "SkullStripped": False,
        },
        Kind.STRUCTURES: {
            "Description": "Anatomical structures on the atlas grid, in the codes of FreeSurfer.",
        },
        Kind.LESION_MASK: {"Description": "Lesions on the atlas grid: 1 inside.", "Type": "Lesion"},
        Kind.LESION_INSTANCES: {"Description": "Lesions on the atlas grid, each with its own number."},
        Kind.NATIVE_LESION_MASK: {
            "Description": "Lesions on the grid of the patient's mask, as they were used: 1 inside.",
            "Type": "Lesion",
        },
        Kind.JACOBIAN: {
            "Description": "Jacobian determinant of the deformation of atlas points, affine part excluded: "
            "above 1 where the patient is larger than the atlas, 0 or below where space folds.",
            "Units": "1",
        },
    }
)

VIRTUAL_NOTE = "\n**VIRTUAL**: these patients do not exist; they were computed to show and test the app.\n"


def app_version() -> str:
    """Return the version of the installed app."""
    return version("metsatlas")


def read_description(bids_dir: Path) -> Mapping[str, object]:
    """Read ``dataset_description.json``; a dataset without one describes nothing.

    Raises
    ------
    DataError
        If the file is not a JSON object.
    """
    path = bids_dir / "dataset_description.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        logger.warning("%s is missing: name, licence and DOI of the input are not carried over", path)
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a JSON file ({error}): mend or fetch it (datalad get)") from error
    if not isinstance(description, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(description).__name__}: mend it")
    return description


def is_virtual(bids_dir: Path) -> bool:
    """Tell whether the patients were computed: ``"Virtual": true``, or "virtual" in the dataset's name.

    A real study that has the word in its name says ``"Virtual": false``.

    Raises
    ------
    DataError
        As `read_description`.
    """
    description = read_description(bids_dir)
    if "Virtual" in description:
        return description["Virtual"] is True
    return "virtual" in _text(description, "Name").lower()


def write_dataset_files(bids_dir: Path, output_dir: Path, derivatives: Mapping[str, Path]) -> None:
    """Write the files a derivative dataset has once; those that say the same already are left alone.

    One run at a time may do this (`bidsapp.execution.lock`).

    Parameters
    ----------
    bids_dir
        The raw dataset.
    output_dir
        The derivative dataset; made if absent.
    derivatives
        Other datasets that were read, name to folder (``-d NAME=PATH``).

    Raises
    ------
    DataError
        If the description of the raw dataset is broken.
    OutputError, ReadWriteError
        As `bidsapp.bids.save.atomic_write`.
    """
    raw = read_description(bids_dir)
    mark = is_virtual(bids_dir)
    name = (
        f"{'VIRTUAL ' if mark else ''}MetsAtlas derivatives of {_text(raw, 'Name') or 'an unnamed dataset'}"
    )
    links = {label: Path(os.path.relpath(path, output_dir)).as_posix() for label, path in derivatives.items()}
    description: dict[str, object] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": _text(raw, "License") or "As the input dataset",
        "Authors": ["MetsAtlas developers", "Authors of the input dataset"],
        "HowToAcknowledge": "Cite the works listed in logs/CITATION.md and the input dataset.",
        "GeneratedBy": [_generated_by()],
        "DatasetLinks": {**links, "raw": Path(os.path.relpath(bids_dir, output_dir)).as_posix()},
    }
    if _text(raw, "DatasetDOI"):
        description["SourceDatasets"] = [{"DOI": _text(raw, "DatasetDOI")}]
    if mark:
        description["Virtual"] = True
    readme = README.format(name=name, version=app_version())
    for folder in (output_dir, output_dir / "logs"):
        sweep(folder, {"dataset_description.json", ".bidsignore", "README.md", "CITATION.md"})
    save_json(description, output_dir / "dataset_description.json")
    save_text(BIDSIGNORE, output_dir / ".bidsignore")
    save_text(readme + (VIRTUAL_NOTE if mark else ""), output_dir / "README.md")
    save_text(CITATION, output_dir / "logs" / "CITATION.md")


def image_sidecar(kind: Kind, atlas: str, grid: Space, sources: Sequence[str]) -> dict[str, object]:
    """Describe an image of one scan in the words BIDS asks for.

    Parameters
    ----------
    kind
        One of the images of `Kind`.
    atlas
        Name of the atlas.
    grid
        The grid the image lies on.
    sources
        Where it comes from (`bidsapp.bids.names.bids_uri`).

    Raises
    ------
    DataError
        If `kind` is no image.

    Examples
    --------
    >>> import numpy as np
    >>> sidecar = image_sidecar(Kind.LESION_MASK, "MNI152NLin2009aSym", Space((4, 5, 6), np.eye(4)), [])
    >>> sidecar["Type"], sidecar["Resolution"]
    ('Lesion', 'Grid of the atlas, 1 x 1 x 1 mm')
    """
    if kind not in _IMAGES:
        raise DataError(f"only images have an image sidecar, got {kind.name}")
    notes: dict[str, object] = {**_IMAGES[kind], "Sources": list(sources)}
    return notes | (
        {"SpatialReference": "orig"} if kind is Kind.NATIVE_LESION_MASK else _on_atlas(atlas, grid)
    )


def group_map_sidecar(description: str, atlas: str, grid: Space) -> dict[str, object]:
    """Describe a map of the whole group on the grid of the atlas."""
    return {"Description": description, **_on_atlas(atlas, grid)}


def _on_atlas(atlas: str, grid: Space) -> dict[str, object]:
    """Say which atlas and which grid; an atlas that BIDS does not list is looked for in this dataset."""
    is_standard = atlas.startswith("MNI152NLin2009")
    sizes = " x ".join(f"{size:.4g}" for size in grid.voxel_sizes_mm)
    return {
        "Resolution": f"Grid of the atlas, {sizes} mm",
        "SpatialReference": MNI_2009 if is_standard else f"tpl-{atlas}",
    }


def _text(description: Mapping[str, object], key: str) -> str:
    """Return an entry on one line; "" if it is absent or, against BIDS, no text."""
    value = description.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _generated_by() -> dict[str, object]:
    """Name the app, its version and, inside a container, the container."""
    record: dict[str, object] = {"Name": "metsatlas", "Version": app_version()}
    tag = os.environ.get("METSATLAS_DOCKER_TAG")
    if tag:
        is_apptainer = "APPTAINER_CONTAINER" in os.environ or "SINGULARITY_CONTAINER" in os.environ
        record["Container"] = {
            "Type": "apptainer" if is_apptainer else "docker",
            "Tag": tag,
            "URI": f"docker://{tag}",
        }
    return record

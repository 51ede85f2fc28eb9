"""From a scan and its label map to an alignment: who steers it, the affine start, the over-fitting."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from bidsapp.atlas.pack import AtlasPack
from bidsapp.images.alignment import Alignment
from bidsapp.images.volume import Volume
from bidsapp.lesions.handling import Guide, suspect
from bidsapp.registration.affine import align_affine
from bidsapp.registration.deformable import Convergence, align_deformable
from bidsapp.registration.intensities import Intensities
from bidsapp.settings import RunSettings


def find_start(
    atlas: Volume, t1w: Volume, guided: Guide, device: str = "cpu"
) -> tuple[Guide, Float64[np.ndarray, "4 4"]]:
    """Lay a scan over the atlas by an affine map, then look for lesions that no mask tells of.

    Parameters
    ----------
    atlas
        SegAnat indices of the atlas.
    t1w
        The native scan.
    guided
        What steers the alignment by what is known so far.
    device
        Where torch computes.

    Returns
    -------
    guided
        What steers the deformation.
    affine
        Atlas world to patient world, millimetres.
    """
    affine = align_affine(atlas, guided.labels, device=device)
    return suspect(guided, t1w, atlas, affine), affine


def over_fit(
    t1w: Volume,
    guided: Guide,
    start: Float64[np.ndarray, "4 4"],
    atlas: AtlasPack,
    settings: RunSettings,
    on_update: Callable[[Convergence], None] = lambda _: None,
) -> Alignment:
    """Find where every point of the atlas lies in the patient, from label maps and T1w images."""
    return align_deformable(
        atlas.labels,
        guided.labels,
        start,
        settings.registration,
        images=Intensities(atlas.template, t1w, guided.lesions),
        device=settings.device,
        on_update=on_update,
    )

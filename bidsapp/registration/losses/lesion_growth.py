"""How far lesions grow or shrink against the tissue around them."""

from jaxtyping import Float64
from torch import Tensor


def strayed_lesions(
    first: Float64[Tensor, " n"], second: Float64[Tensor, " n"], counts: Float64[Tensor, " n"]
) -> Float64[Tensor, ""]:
    """Squared log Jacobian of lesion cells against the growth of their ring, averaged over all cells.

    0 means that every lesion changes its volume evenly and as its ring does: it moves nearly rigidly, apart
    from what its surroundings do. The ring's growth is its mean Jacobian, taken from the mean and the
    variance of the logarithm as if that were normal; it is not differentiated, so that the lesion follows
    the tissue and not the tissue the lesion. A lesion without a ring keeps its volume even, whatever it is.

    Parameters
    ----------
    first, second
        Sum and sum of squares from `geometry.kernels.log_jacobian_moments`. Label 0 is all else, odd labels
        are lesions, and the next even label is the ring of each.
    counts
        Number of corners behind each sum.

    Examples
    --------
    One lesion of two corners, log Jacobians -1 and 1; a ring that does not grow:

    >>> sums = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64)
    >>> squares = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    >>> strayed_lesions(sums, squares, torch.tensor([2.0, 2.0, 4.0], dtype=torch.float64)).item()
    0.25
    """
    lesion, ring = slice(1, None, 2), slice(2, None, 2)
    n_ring = counts[ring].clamp(min=1)
    mean = (first[ring] / n_ring).detach()
    variance = (second[ring] / n_ring).detach() - mean.square()
    own = first[lesion] / counts[lesion].clamp(min=1)
    aim = (mean + variance / 2).where(counts[ring] > 0, own)
    strayed = second[lesion] - 2 * aim * first[lesion] + counts[lesion] * aim.square()
    return strayed.sum() / counts.sum()

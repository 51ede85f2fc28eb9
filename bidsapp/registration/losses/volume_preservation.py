"""How unevenly tissue of one kind grows and shrinks."""

from jaxtyping import Float64
from torch import Tensor


def uneven_growth(
    first: Float64[Tensor, " n"], second: Float64[Tensor, " n"], counts: Float64[Tensor, " n"]
) -> Float64[Tensor, ""]:
    """Variance of the log Jacobian determinant within each structure, averaged over all cells.

    0 means that every structure grows or shrinks as one; lower is better. A tumour that collapses inside
    white matter that does not makes this large. It is smooth in its argument, treats growing and shrinking
    alike, and has no floor.

    Parameters
    ----------
    first, second
        Sum and sum of squares from `geometry.kernels.log_jacobian_moments`.
    counts
        Number of corners behind each sum.

    References
    ----------
    After Wielenberg et al. 2026, eq. (6)-(8), with the logarithm in place of the sigmoid.
    doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> sums = torch.tensor([0.0, 4.0], dtype=torch.float64)
    >>> squares = torch.tensor([8.0, 8.0], dtype=torch.float64)
    >>> uneven_growth(sums, squares, torch.tensor([2.0, 2.0], dtype=torch.float64)).item()
    2.0
    """
    within = second - first.square() / counts.clamp(min=1)
    return within.sum() / counts.sum()

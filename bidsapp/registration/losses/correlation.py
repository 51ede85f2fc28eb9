"""How well two maps rise and fall together."""

from jaxtyping import Bool, Float, Float64
from torch import Tensor


def negative_correlation(
    fixed: Float[Tensor, "..."], warped: Float[Tensor, "..."], counted: Bool[Tensor, "..."]
) -> Float64[Tensor, ""]:
    """Give minus the global normalised cross-correlation of two maps.

    -1 means that one is the other times a positive number plus a constant, 1 the same with a negative number;
    lower is better. A constant map correlates with nothing: 0.

    Parameters
    ----------
    fixed, warped
        Two maps on one grid, of any number of axes.
    counted
        Voxels that take part.

    References
    ----------
    Wielenberg et al. 2026, eq. (3). doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> rise, every = torch.tensor([0.0, 1.0, 2.0]), torch.ones(3, dtype=torch.bool)
    >>> negative_correlation(rise, 5 + 2 * rise, every).item()
    -1.0
    >>> round(negative_correlation(rise, torch.tensor([0.0, 1.0, 0.0]), every).item(), 6)
    -0.0
    """
    a, b = fixed[counted].double(), warped[counted].double()
    a, b = a - a.mean(), b - b.mean()
    scale = (a.square().sum() * b.square().sum()).clamp(min=1e-30).sqrt()
    return -(a * b).sum() / scale

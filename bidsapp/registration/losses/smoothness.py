"""How unevenly a velocity flows."""

from jaxtyping import Float, Float64
from torch import Tensor

from bidsapp.geometry import kernels


def mean_squared_gradient(velocity: Float[Tensor, "3 i j k"]) -> Float64[Tensor, ""]:
    """Average the squared change of the velocity from voxel to voxel.

    0 means a constant velocity; lower is smoother. On a grid of cubic voxels with the velocity in voxels the
    unit is mm per mm, whatever the spacing.

    References
    ----------
    Wielenberg et al. 2026, eq. (5), there for the displacement. doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> ramp = torch.arange(3.0).reshape(1, 3, 1, 1).expand(3, 3, 4, 5)
    >>> round(mean_squared_gradient(ramp).item(), 3)
    2.0
    """
    return kernels.squared_differences(velocity) / velocity[0].numel()

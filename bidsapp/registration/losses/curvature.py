"""How strongly a velocity bends."""

from jaxtyping import Float, Float64
from torch import Tensor

from bidsapp.geometry import kernels


def mean_squared_curvature(velocity: Float[Tensor, "3 i j k"], spacing_mm: float) -> Float64[Tensor, ""]:
    """Average the squared second differences of the velocity along each axis, (mm per mm2) squared.

    0 means a linear velocity; lower is straighter. Trilinear interpolation is wrong in proportion to these
    second differences and to nothing else, and that is how far a saved inverse misses.

    Parameters
    ----------
    velocity
        In voxels of its grid.
    spacing_mm
        Edge of a voxel.

    Examples
    --------
    >>> parabola = torch.arange(4.0).square().reshape(1, 4, 1, 1).expand(3, 4, 5, 6)
    >>> round(mean_squared_curvature(parabola, 2.0).item(), 3)  # 3 components, 2 of 4 planes, (2 / 2) ** 2
    1.5
    """
    return kernels.squared_curvature(velocity) / (velocity[0].numel() * spacing_mm**2)

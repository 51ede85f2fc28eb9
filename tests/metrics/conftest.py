import numpy as np
import pytest

from bidsapp.geometry.space import Space


@pytest.fixture(params=[1.0, 1.7], ids=["small voxels", "large voxels"])
def oblique(request: pytest.FixtureRequest) -> Space:
    """Oblique, anisotropic and left-handed."""
    turn, _ = np.linalg.qr(np.array([[1.0, 0.3, 0.1], [-0.2, 1.0, 0.4], [0.2, -0.3, 1.0]]))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.9, 1.2, 2.0]) * np.sign(np.linalg.det(turn)) * request.param
    affine[:3, 3] = [30.0, -12.0, 5.0]
    return Space((4, 5, 6), affine)

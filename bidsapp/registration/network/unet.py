"""The U-Net that turns an atlas and a patient, seen on one grid, into a velocity."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

FILTERS = (32, 64, 128)
_COARSENING = 4
_LEAST_SIZE = 8
_NEAR_ZERO = 1e-3


class VelocityNet(nn.Module):
    """Three levels, average pooling down, transposed convolutions up, skips by summation.

    Every level has two 3 x 3 x 3 convolutions, each followed by batch normalisation and ReLU. One pair of
    brains is a batch of its own, so normalisation uses the statistics of that pair, when training and ever
    after: what the network says about one patient does not depend on others. The output layer starts near
    zero, so that an untrained network moves nothing.

    Parameters
    ----------
    seed
        Of the random start.
    n_channels
        What it sees of both brains together: 2 for an image of each, 1.22 M weights.

    References
    ----------
    Wielenberg et al. 2026, figure 1. doi:10.48550/arXiv.2602.12933

    Examples
    --------
    >>> sum(weight.numel() for weight in VelocityNet(seed=0).parameters())
    1221827
    """

    def __init__(self, *, seed: int, n_channels: int = 2) -> None:
        super().__init__()
        fine, middle, coarse = FILTERS
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.down_fine = _Level(n_channels, fine)
            self.down_middle = _Level(fine, middle)
            self.bottom = _Level(middle, coarse)
            self.rise_middle = nn.ConvTranspose3d(coarse, middle, kernel_size=2, stride=2)
            self.up_middle = _Level(middle, middle)
            self.rise_fine = nn.ConvTranspose3d(middle, fine, kernel_size=2, stride=2)
            self.up_fine = _Level(fine, fine)
            self.to_velocity = nn.Conv3d(fine, 3, kernel_size=3, padding=1)
            nn.init.normal_(self.to_velocity.weight, std=_NEAR_ZERO)
            nn.init.zeros_(self.to_velocity.get_parameter("bias"))

    def forward(
        self, seen: Float[Tensor, "c i j k"], *, saves_memory: bool = False
    ) -> Float[Tensor, "3 i j k"]:
        """Give the velocity, in voxels of the grid both brains are sampled on, along its axes.

        Parameters
        ----------
        seen
            Atlas and patient, values near 0 to 1; sizes are padded to multiples of 4 and cut again.
        saves_memory
            Keep only what goes from level to level, and compute the rest again on the way back.
        """
        sizes = seen.shape[1:]
        missing = [max(_LEAST_SIZE, -(-size // _COARSENING) * _COARSENING) - size for size in sizes]
        padding = [amount for after in reversed(missing) for amount in (0, after)]
        fine = _run(
            self.down_fine, functional.pad(seen[None], padding, mode="replicate"), saves_memory=saves_memory
        )
        middle = _run(self.down_middle, functional.avg_pool3d(fine, 2), saves_memory=saves_memory)
        coarse = _run(self.bottom, functional.avg_pool3d(middle, 2), saves_memory=saves_memory)
        middle = _run(self.up_middle, self.rise_middle(coarse) + middle, saves_memory=saves_memory)
        fine = _run(self.up_fine, self.rise_fine(middle) + fine, saves_memory=saves_memory)
        velocity: Tensor = self.to_velocity(fine)[0, :, : sizes[0], : sizes[1], : sizes[2]]
        return velocity.float()


class _Level(nn.Sequential):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(
            nn.Conv3d(n_in, n_out, kernel_size=3, padding=1),
            nn.BatchNorm3d(n_out, track_running_stats=False),
            nn.ReLU(),
            nn.Conv3d(n_out, n_out, kernel_size=3, padding=1),
            nn.BatchNorm3d(n_out, track_running_stats=False),
            nn.ReLU(),
        )


def _run(level: nn.Module, features: Tensor, *, saves_memory: bool) -> Tensor:
    if saves_memory:
        recomputed: Tensor = checkpoint(level, features, use_reentrant=False, preserve_rng_state=False)
        return recomputed
    direct: Tensor = level(features)
    return direct

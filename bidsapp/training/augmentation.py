"""Random heads: bent, turned, and seen by a scanner of any contrast."""

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from scipy.ndimage import gaussian_filter

from bidsapp.geometry.space import Space
from bidsapp.geometry.velocity import exponentiate_voxels

_BENDS_MM = (16.0, 1.0), (7.0, 0.5)  # smoothness, share of the largest bend
_LARGEST_TURN_DEGREES = 3.0
_LARGEST_STRETCH = 0.03
_LARGEST_SHIFT_MM = 2.0
_BIAS_SMOOTHNESS_MM = 40.0
_LARGEST_BIAS = 0.3
_LARGEST_NOISE = 0.05
_SQUARING_STEPS = 6


def random_points(
    grid: Space, largest_bend_mm: float, rng: np.random.Generator
) -> Float64[np.ndarray, "n 3"]:
    """Move every grid point by a random diffeomorphism, then by a random affine about the grid's middle.

    The diffeomorphism is the exponential of a smooth random velocity, so nothing folds. It bends
    widely and, half as far, from one convolution of the cortex to the next.

    Parameters
    ----------
    grid
        Cubic voxels.
    largest_bend_mm
        The root mean square of the wide velocity is drawn between 0 and this.
    rng
        Source of all choices.

    Returns
    -------
    points
        World millimetres, in C order of the grid.
    """
    spacing = grid.voxel_sizes_mm[0]
    velocity = np.zeros((3, *grid.shape))
    for smoothness_mm, share in _BENDS_MM:
        noise = rng.standard_normal((3, *grid.shape)).astype(np.float32)
        smooth = np.stack([gaussian_filter(part, smoothness_mm / spacing, mode="nearest") for part in noise])
        strength = rng.uniform(0, share * largest_bend_mm) / spacing
        velocity += smooth * (strength / max(1e-9, float(np.sqrt((smooth**2).sum(axis=0).mean()))))
    bend = exponentiate_voxels(
        torch.from_numpy(velocity.astype(np.float32)), squaring_steps=_SQUARING_STEPS
    ).numpy()
    index = np.indices(grid.shape, dtype=np.float64).reshape(3, -1).T + bend.reshape(3, -1).T
    points = grid.voxel_to_world(index)
    middle = grid.voxel_to_world((np.array([grid.shape]) - 1.0) / 2)
    turned: np.ndarray = (points - middle) @ _random_turn(rng).T + middle
    return turned + rng.uniform(-_LARGEST_SHIFT_MM, _LARGEST_SHIFT_MM, 3)


def _random_turn(rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """Turn about each axis, and stretch along each."""
    matrix = np.diag(np.exp(rng.uniform(-_LARGEST_STRETCH, _LARGEST_STRETCH, 3)))
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-_LARGEST_TURN_DEGREES, _LARGEST_TURN_DEGREES, 3))):
        one, other = [side for side in range(3) if side != axis]
        turn = np.eye(3)
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def synthesise(codes: Int64[np.ndarray, "i j k"], rng: np.random.Generator) -> Float32[np.ndarray, "i j k"]:
    """Make a scan of random contrast from a label map: every code gets a brightness and a roughness.

    Parameters
    ----------
    codes
        Non-negative; 0 stays black.
    rng
        Source of all choices.

    References
    ----------
    Billot et al. 2023, Medical Image Analysis 86 (SynthSeg). doi:10.1016/j.media.2023.102789
    """
    present, position = np.unique(codes, return_inverse=True)
    brightness = np.where(present > 0, rng.uniform(0.1, 1.0, present.size), 0)
    roughness = np.where(present > 0, rng.uniform(0.0, 0.1, present.size), 0)
    position = position.reshape(codes.shape)
    image = brightness[position] + roughness[position] * rng.standard_normal(codes.shape)
    return gaussian_filter(image, rng.uniform(0.0, 0.7)).astype(np.float32)


def disturb(
    image: Float32[np.ndarray, "i j k"], spacing_mm: float, rng: np.random.Generator
) -> Float32[np.ndarray, "i j k"]:
    """Add what scanners add: uneven brightness, another gamma, noise.

    Parameters
    ----------
    image
        Intensities near 0 to 1.
    spacing_mm
        Of its voxels.
    rng
        Source of all choices.
    """
    uneven = gaussian_filter(
        rng.standard_normal(image.shape), _BIAS_SMOOTHNESS_MM / spacing_mm, mode="nearest"
    )
    uneven *= rng.uniform(0, _LARGEST_BIAS) / max(1e-9, float(uneven.std()))
    gamma = np.exp(rng.uniform(-0.3, 0.3))
    changed = np.sign(image) * np.abs(image) ** gamma * np.exp(uneven)
    noise = rng.uniform(0, _LARGEST_NOISE) * rng.standard_normal(image.shape)
    return (changed + noise).astype(np.float32)

"""How closely two images follow each other in the box around every voxel, and its gradient.

Sums over boxes are taken plane by plane: a slab keeps the last planes and their running total, so that the
six sums of a box never go through memory. Images are standardised first, so a share of 1 is their variance.
"""

import numba
import numpy as np

from bidsapp.geometry.kernels.compiled.cells import N_SLABS, in_order, jit, jit_parallel
from bidsapp.geometry.kernels.reference import FLAT_SHARE, ROUNDING_SHARE


@jit_parallel
def standardisation(image: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Sum of weights, weighted mean and weighted standard deviation (1 for a constant image)."""
    ni, nj, nk = image.shape
    sums = np.zeros((ni, 3), np.float64)
    for i in numba.prange(ni):
        # one sum for each k, so that vector units can add them side by side
        zeroth, first, second = np.zeros(nk), np.zeros(nk), np.zeros(nk)
        for j in range(nj):
            for k in range(nk):
                w, value = float(weights[i, j, k]), float(image[i, j, k])
                zeroth[k] += w
                first[k] += w * value
                second[k] += w * value * value
        for k in range(nk):
            sums[i, 0] += zeroth[k]
            sums[i, 1] += first[k]
            sums[i, 2] += second[k]
    mass, total, squares = in_order(sums)
    if mass <= 0:
        return 0.0, 0.0, 1.0
    mean = total / mass
    variance = squares / mass - mean * mean
    if variance <= ROUNDING_SHARE * (squares / mass):
        return mass, mean, 1.0
    return mass, mean, np.sqrt(variance)


@jit
def _n_slabs(n_planes: int, radius: int) -> int:
    """Cut thick slabs: each also sums the planes within `radius` around it."""
    return min(N_SLABS, max(1, n_planes // max(1, 8 * radius)))


@jit
def _box_of_plane(plane: np.ndarray, radius: int, along_k: np.ndarray, out: np.ndarray) -> None:
    """Sum each of (q, j, k) over squares of ``2 * radius + 1``, cut off at the border."""
    n, nj, nk = plane.shape
    line = np.zeros(nk + 2 * radius, np.float32)
    for q in range(n):
        for j in range(nj):
            line[radius : radius + nk] = plane[q, j]
            row = along_k[j]
            row[:] = np.float32(0)
            for shift in range(2 * radius + 1):
                for k in range(nk):
                    row[k] += line[k + shift]
        for j in range(nj):
            row = out[q, j]
            row[:] = np.float32(0)
            for other in range(max(0, j - radius), min(nj, j + radius + 1)):
                source = along_k[other]
                for k in range(nk):
                    row[k] += source[k]


@jit
def _roll(total: np.ndarray, ring: np.ndarray, plane: np.ndarray, place: int, radius: int) -> None:
    """Replace the plane kept at `place` of the ring by the box sums of `plane` and update the total."""
    _, nj, nk = plane.shape
    along_k = np.empty((nj, nk), np.float32)
    kept = ring[place]
    total -= kept
    _box_of_plane(plane, radius, along_k, kept)
    total += kept


@jit
def _drop(total: np.ndarray, ring: np.ndarray, place: int) -> None:
    total -= ring[place]
    ring[place] = np.float32(0)


@jit
def _products(
    f: np.ndarray, m: np.ndarray, w: np.ndarray, scales: tuple[float, float, float, float], plane: np.ndarray
) -> None:
    """Fill w, wf, wm, wff, wfm and wmm of one plane of standardised images."""
    f_mean, f_sd, m_mean, m_sd = scales
    f_shift, f_gain = np.float32(f_mean), np.float32(1 / f_sd)
    m_shift, m_gain = np.float32(m_mean), np.float32(1 / m_sd)
    for j in range(f.shape[0]):
        for k in range(f.shape[1]):
            weight = w[j, k]
            a, b = (f[j, k] - f_shift) * f_gain, (m[j, k] - m_shift) * m_gain
            plane[0, j, k] = weight
            plane[1, j, k], plane[2, j, k] = weight * a, weight * b
            plane[3, j, k], plane[4, j, k] = weight * a * a, weight * a * b
            plane[5, j, k] = weight * b * b


@jit
def _correlate_plane(total: np.ndarray, w: np.ndarray, pulls: np.ndarray, sums: np.ndarray) -> None:
    """Add the squared correlations of a plane to `sums`; note in `pulls` (3, j, k) what gradients need."""
    zero, one, two, share = np.float32(0), np.float32(1), np.float32(2), np.float32(FLAT_SHARE)
    nj, nk = w.shape
    squared, lost = np.empty(nk, np.float32), np.empty(nk, np.float32)
    all_squared, all_lost = 0.0, 0.0
    for j in range(nj):
        for k in range(nk):
            weight = w[j, k]
            # a box around a voxel that counts holds that voxel's weight at least
            part = one / max(total[0, j, k], weight) if weight > zero else zero
            f, m = total[1, j, k] * part, total[2, j, k] * part
            ff = max(total[3, j, k] * part - f * f, zero) + share
            mm = max(total[5, j, k] * part - m * m, zero) + share
            fm = total[4, j, k] * part - f * m
            to_f = weight * fm / (ff * mm)
            squared[k] = to_f * fm
            to_m = squared[k] / mm
            lost[k] = to_m * share
            to_f, to_m = two * part * to_f, two * part * to_m
            pulls[0, j, k], pulls[1, j, k] = to_f, to_m
            pulls[2, j, k] = to_f * f - to_m * m
        for k in range(nk):
            all_squared += squared[k]
            all_lost += lost[k]
    sums[0] += all_squared
    sums[1] += all_lost


@jit_parallel
def correlate(
    fixed: np.ndarray,
    moving: np.ndarray,
    weights: np.ndarray,
    scales: tuple[float, float, float, float],
    radius: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum of squared local correlations, and what its gradient needs.

    `scales` are mean and standard deviation of the fixed, then of the moving image. The first result is the
    sum and the part of it that the floor of the moving variance costs; the second (3, i, j, k) goes to
    `correlate_adjoint`.
    """
    ni, nj, nk = fixed.shape
    n_slabs, width = _n_slabs(ni, radius), 2 * radius + 1
    pulls = np.empty((3, ni, nj, nk), np.float32)
    sums = np.zeros((n_slabs, 2), np.float64)
    for slab in numba.prange(n_slabs):
        begin, end = slab * ni // n_slabs, (slab + 1) * ni // n_slabs
        plane = np.empty((6, nj, nk), np.float32)
        ring, total = np.zeros((width, 6, nj, nk), np.float32), np.zeros((6, nj, nk), np.float32)
        for ahead in range(max(0, begin - radius), end + radius):
            if ahead < ni:
                _products(fixed[ahead], moving[ahead], weights[ahead], scales, plane)
                _roll(total, ring, plane, ahead % width, radius)
            else:
                _drop(total, ring, ahead % width)
            centre = ahead - radius
            if centre >= begin:
                _correlate_plane(total, weights[centre], pulls[:, centre], sums[slab])
    return in_order(sums), pulls


@jit_parallel
def correlate_adjoint(
    images: tuple[np.ndarray, np.ndarray, np.ndarray],
    scales: tuple[float, float, float, float],
    pulls: np.ndarray,
    radius: int,
    gain: float,
    lost: float,
) -> np.ndarray:
    """Pull the gradient `gain` of the sum that `correlate` gives back to the moving image.

    `images` are fixed, moving and weights; `lost` is the mean cost of the floor of the moving variance, which
    grows with the image's contrast.
    """
    fixed, moving, weights = images
    ni, nj, nk = fixed.shape
    n_slabs, width = _n_slabs(ni, radius), 2 * radius + 1
    f_shift, f_gain = np.float32(scales[0]), np.float32(1 / scales[1])
    m_shift, m_gain = np.float32(scales[2]), np.float32(1 / scales[3])
    strength, slack = np.float32(gain / scales[3]), np.float32(2 * lost)
    result = np.empty_like(moving)
    for slab in numba.prange(n_slabs):
        begin, end = slab * ni // n_slabs, (slab + 1) * ni // n_slabs
        ring, total = np.zeros((width, 3, nj, nk), np.float32), np.zeros((3, nj, nk), np.float32)
        for ahead in range(max(0, begin - radius), end + radius):
            if ahead < ni:
                _roll(total, ring, pulls[:, ahead], ahead % width, radius)
            else:
                _drop(total, ring, ahead % width)
            i = ahead - radius
            if i < begin:
                continue
            for j in range(nj):
                for k in range(nk):
                    f = (fixed[i, j, k] - f_shift) * f_gain
                    m = (moving[i, j, k] - m_shift) * m_gain
                    pull = f * total[0, j, k] - m * total[1, j, k] - total[2, j, k] - slack * m
                    result[i, j, k] = strength * weights[i, j, k] * pull
    return result

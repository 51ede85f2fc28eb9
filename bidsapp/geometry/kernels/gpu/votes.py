"""Moving labels vote at fixed voxels: agreement of two label maps and its gradient."""

import triton
import triton.language as tl

from bidsapp.geometry.kernels.gpu.places import blend, cell, land, pull_back, read_corners, slopes, unravel

LEFT_OUT = tl.constexpr(255)
"""As in `reference`; a Triton kernel reads global constants of its own file alone."""


@triton.jit
def _weigh(fraction, ease):
    """Weight of the upper neighbour and its slope."""
    rest = 1 - fraction
    return fraction * (1 - ease * rest * (1 - 2 * fraction)), 1 - ease * (1 - 6 * fraction * rest)


@triton.jit
def _vote_of(label, corner):
    return tl.where(corner == label, 1.0, 0.0)


@triton.jit
def _least_from(first, one, other, n_labels):
    """Give the lower of two labels that is not below `first`; `n_labels` if both are."""
    a, b = one.to(tl.int32), other.to(tl.int32)
    return tl.minimum(tl.where(a >= first, a, n_labels), tl.where(b >= first, b, n_labels))


@triton.jit
def _lowest_from(first, m000, m001, m010, m011, m100, m101, m110, m111, n_labels):
    """Give the lowest of eight labels that is not below `first`; `n_labels` if all are."""
    low = tl.minimum(_least_from(first, m000, m001, n_labels), _least_from(first, m010, m011, n_labels))
    high = tl.minimum(_least_from(first, m100, m101, n_labels), _least_from(first, m110, m111, n_labels))
    return tl.minimum(low, high)


@triton.jit
def vote(
    displacement, to_grid, index_map, step_map, fixed, moving, overlap, volume,
    ni, nj, nk, mi, mj, mk, di, dj, dk, n_labels, ease,
    block: tl.constexpr,
):  # fmt: skip
    """Overlap and warped volume of every label, block by block: (n_blocks, n_labels) each, 0 before.

    A block goes through the labels that its corners have, from the lowest to the highest: a few of all.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < ni * nj * nk
    i, j, k = unravel(at, nj, nk)
    x, y, z, _, _, _, _, _, _ = land(displacement, to_grid, index_map, step_map, i, j, k, di, dj, dk, mask)
    inside = mask & (x >= 0) & (y >= 0) & (z >= 0) & (x < mi - 1) & (y < mj - 1) & (z < mk - 1)
    x0, fx, _ = cell(x, mi)
    y0, fy, _ = cell(y, mj)
    z0, fz, _ = cell(z, mk)
    fx, _ = _weigh(fx, ease)
    fy, _ = _weigh(fy, ease)
    fz, _ = _weigh(fz, ease)
    m000, m001, m010, m011, m100, m101, m110, m111 = read_corners(moving, x0, y0, z0, mj, mk, inside)
    here = tl.load(fixed + at, mask=mask, other=0)
    mask = mask & (here != LEFT_OUT)
    sums = tl.program_id(0) * n_labels
    lowest = _lowest_from(0, m000, m001, m010, m011, m100, m101, m110, m111, n_labels)
    label = tl.min(lowest, axis=0)
    while label < n_labels:
        share = blend(
            fx, fy, fz, _vote_of(label, m000), _vote_of(label, m001), _vote_of(label, m010),
            _vote_of(label, m011), _vote_of(label, m100), _vote_of(label, m101), _vote_of(label, m110),
            _vote_of(label, m111),
        )  # fmt: skip
        share = tl.where(mask, share, 0.0)
        tl.store(volume + sums + label, tl.sum(share))
        tl.store(overlap + sums + label, tl.sum(tl.where(here == label, share, 0.0)))
        lowest = _lowest_from(label + 1, m000, m001, m010, m011, m100, m101, m110, m111, n_labels)
        label = tl.min(lowest, axis=0)


@triton.jit
def count(labels, sums, n, n_labels, block: tl.constexpr):
    """Count the voxels of every label, block by block: (n_blocks, n_labels)."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    here = tl.load(labels + at, mask=mask, other=0)
    for label in range(n_labels):
        counted = tl.where(mask & (here == label), 1.0, 0.0)
        tl.store(sums + tl.program_id(0) * n_labels + label, tl.sum(counted))


@triton.jit
def _worth(to_overlap, to_volume, corner, label, mask):
    """Say what the loss gains from a vote of one corner."""
    bonus = tl.load(to_overlap + label.to(tl.int32), mask=mask & (corner == label), other=0)
    return tl.load(to_volume + corner.to(tl.int32), mask=mask, other=0) + bonus


@triton.jit
def vote_adjoint(
    displacement, to_grid, index_map, step_map, fixed, moving, to_overlap, to_volume, scale, result,
    ni, nj, nk, mi, mj, mk, di, dj, dk, ease, block: tl.constexpr,
):  # fmt: skip
    """Pull gradients with respect to both results of `vote` back to the displacement, into int64 `result`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < ni * nj * nk
    i, j, k = unravel(at, nj, nk)
    x, y, z, i0, j0, k0, fi, fj, fk = land(
        displacement, to_grid, index_map, step_map, i, j, k, di, dj, dk, mask
    )
    inside = mask & (x >= 0) & (y >= 0) & (z >= 0) & (x < mi - 1) & (y < mj - 1) & (z < mk - 1)
    x0, fx, _ = cell(x, mi)
    y0, fy, _ = cell(y, mj)
    z0, fz, _ = cell(z, mk)
    fx, tx = _weigh(fx, ease)
    fy, ty = _weigh(fy, ease)
    fz, tz = _weigh(fz, ease)
    m000, m001, m010, m011, m100, m101, m110, m111 = read_corners(moving, x0, y0, z0, mj, mk, inside)
    label = tl.load(fixed + at, mask=mask, other=0)
    same = (m000 == m001) & (m000 == m010) & (m000 == m011) & (m000 == m100)
    inside = inside & (label != LEFT_OUT) & ~(same & (m000 == m101) & (m000 == m110) & (m000 == m111))
    s0, s1, s2 = slopes(
        fx,
        fy,
        fz,
        _worth(to_overlap, to_volume, m000, label, inside),
        _worth(to_overlap, to_volume, m001, label, inside),
        _worth(to_overlap, to_volume, m010, label, inside),
        _worth(to_overlap, to_volume, m011, label, inside),
        _worth(to_overlap, to_volume, m100, label, inside),
        _worth(to_overlap, to_volume, m101, label, inside),
        _worth(to_overlap, to_volume, m110, label, inside),
        _worth(to_overlap, to_volume, m111, label, inside),
    )
    s0, s1, s2 = tx * s0, ty * s1, tz * s2
    pull_back(result, step_map, tl.load(scale), s0, s1, s2, i0, j0, k0, fi, fj, fk, di, dj, dk, inside)

"""The ten tetrahedra around each voxel, as in `compiled.tetrahedra`."""

import triton
import triton.language as tl

from bidsapp.geometry.kernels.gpu.places import unravel


@triton.jit
def _edge(field, start, end, n, mask):
    """By how much the displacement lengthens the way from one voxel to another (3)."""
    x = tl.load(field + end, mask=mask, other=0) - tl.load(field + start, mask=mask, other=0)
    y = tl.load(field + n + end, mask=mask, other=0) - tl.load(field + n + start, mask=mask, other=0)
    z = tl.load(field + 2 * n + end, mask=mask, other=0) - tl.load(field + 2 * n + start, mask=mask, other=0)
    return x, y, z


@triton.jit
def _volume(a0, a1, a2, b0, b1, b2, c0, c1, c2):
    """Volume of the box on three edges, negative when they are left-handed."""
    return a0 * (b1 * c2 - b2 * c1) + a1 * (b2 * c0 - b0 * c2) + a2 * (b0 * c1 - b1 * c0)


@triton.jit
def smallest_jacobian(field, out, n, ni, nj, nk, block: tl.constexpr):
    """Give the smallest Jacobian of the tetrahedra that a voxel owns; in voxels."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    i, j, k = unravel(at, nj, nk)
    plane = nj * nk
    least = tl.full([block], float("inf"), tl.float32)
    for corner in tl.static_range(8):
        a, b, c = corner // 4, corner // 2 % 2, corner % 2  # 1 looks ahead, 0 back
        inside = mask & (i + a > 0) & (i + a < ni) & (j + b > 0) & (j + b < nj) & (k + c > 0) & (k + c < nk)
        a0, a1, a2 = _edge(field, at + (a - 1) * plane, at + a * plane, n, inside)
        b0, b1, b2 = _edge(field, at + (b - 1) * nk, at + b * nk, n, inside)
        c0, c1, c2 = _edge(field, at + (c - 1), at + c, n, inside)
        volume = _volume(a0 + 1, a1, a2, b0, b1 + 1, b2, c0, c1, c2 + 1)
        least = tl.where(inside, tl.minimum(least, volume), least)
    cube = mask & (i < ni - 1) & (j < nj - 1) & (k < nk - 1)
    start = at + plane
    a0, a1, a2 = _edge(field, start, at + nk, n, cube)
    b0, b1, b2 = _edge(field, start, at + 1, n, cube)
    c0, c1, c2 = _edge(field, start, at + plane + nk + 1, n, cube)
    volume = _volume(a0 - 1, a1 + 1, a2, b0 - 1, b1, b2 + 1, c0, c1 + 1, c2 + 1)
    least = tl.where(cube, tl.minimum(least, volume), least)
    start = at + plane + nk
    a0, a1, a2 = _edge(field, start, at + nk + 1, n, cube)
    b0, b1, b2 = _edge(field, start, at + plane + 1, n, cube)
    c0, c1, c2 = _edge(field, start, at, n, cube)
    volume = -_volume(a0 - 1, a1, a2 + 1, b0, b1 - 1, b2 + 1, c0 - 1, c1 - 1, c2)
    least = tl.where(cube, tl.minimum(least, volume), least)
    tl.store(out + at, least, mask=mask)

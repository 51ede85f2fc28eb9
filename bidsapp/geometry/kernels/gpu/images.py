"""A moving image read at the points that fixed voxels are sent to, and the way back for gradients."""

import triton
import triton.language as tl

from bidsapp.geometry.kernels.gpu.places import blend, cell, land, pull_back, read_corners, slopes, unravel


@triton.jit
def sample_image(
    displacement, to_grid, index_map, step_map, image, out,
    ni, nj, nk, mi, mj, mk, di, dj, dk, block: tl.constexpr,
):  # fmt: skip
    """Interpolate `image` trilinearly where fixed voxels land; 0 off its grid."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < ni * nj * nk
    i, j, k = unravel(at, nj, nk)
    x, y, z, _, _, _, _, _, _ = land(displacement, to_grid, index_map, step_map, i, j, k, di, dj, dk, mask)
    inside = mask & (x >= 0) & (y >= 0) & (z >= 0) & (x <= mi - 1) & (y <= mj - 1) & (z <= mk - 1)
    x0, fx, _ = cell(x, mi)
    y0, fy, _ = cell(y, mj)
    z0, fz, _ = cell(z, mk)
    v000, v001, v010, v011, v100, v101, v110, v111 = read_corners(image, x0, y0, z0, mj, mk, inside)
    tl.store(out + at, blend(fx, fy, fz, v000, v001, v010, v011, v100, v101, v110, v111), mask=mask)


@triton.jit
def sample_image_adjoint(
    displacement, to_grid, index_map, step_map, image, gradient, scale, result,
    ni, nj, nk, mi, mj, mk, di, dj, dk, block: tl.constexpr,
):  # fmt: skip
    """Pull the gradient with respect to the result of `sample_image` back, into int64 `result`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < ni * nj * nk
    i, j, k = unravel(at, nj, nk)
    x, y, z, i0, j0, k0, fi, fj, fk = land(
        displacement, to_grid, index_map, step_map, i, j, k, di, dj, dk, mask
    )
    inside = mask & (x >= 0) & (y >= 0) & (z >= 0) & (x <= mi - 1) & (y <= mj - 1) & (z <= mk - 1)
    x0, fx, _ = cell(x, mi)
    y0, fy, _ = cell(y, mj)
    z0, fz, _ = cell(z, mk)
    v000, v001, v010, v011, v100, v101, v110, v111 = read_corners(image, x0, y0, z0, mj, mk, inside)
    s0, s1, s2 = slopes(fx, fy, fz, v000, v001, v010, v011, v100, v101, v110, v111)
    gain = tl.load(gradient + at, mask=inside, other=0)
    pull_back(
        result, step_map, tl.load(scale), gain * s0, gain * s1, gain * s2,
        i0, j0, k0, fi, fj, fk, di, dj, dk, inside & (gain != 0),
    )  # fmt: skip

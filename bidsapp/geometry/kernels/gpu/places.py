"""What all Triton kernels share: where a voxel and a position lie, and what is read or added there."""

import triton
import triton.language as tl


@triton.jit
def unravel(index, nj, nk):
    """Voxel (i, j, k) of a flat index."""
    return index // (nj * nk), index // nk % nj, index % nk


@triton.jit
def cell(position, size):
    """Lower corner, weight of the upper corner and slope (0 beyond the border) of a clamped position."""
    last = size - 1.0
    inside = tl.minimum(tl.maximum(position, 0.0), last)
    low = tl.minimum(inside.to(tl.int32), size - 2)
    slope = tl.where((position > 0.0) & (position < last), 1.0, 0.0)
    return low, inside - low, slope


@triton.jit
def read_corners(data, i0, j0, k0, nj, nk, mask):
    """Eight values from (i0, j0, k0) to (i0 + 1, j0 + 1, k0 + 1), k fastest."""
    at = data + (i0 * nj + j0) * nk + k0
    plane = nj * nk
    return (
        tl.load(at, mask=mask, other=0),
        tl.load(at + 1, mask=mask, other=0),
        tl.load(at + nk, mask=mask, other=0),
        tl.load(at + nk + 1, mask=mask, other=0),
        tl.load(at + plane, mask=mask, other=0),
        tl.load(at + plane + 1, mask=mask, other=0),
        tl.load(at + plane + nk, mask=mask, other=0),
        tl.load(at + plane + nk + 1, mask=mask, other=0),
    )


@triton.jit
def blend(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111):
    """Trilinear value between eight corners."""
    low = (1 - fj) * ((1 - fk) * v000 + fk * v001) + fj * ((1 - fk) * v010 + fk * v011)
    high = (1 - fj) * ((1 - fk) * v100 + fk * v101) + fj * ((1 - fk) * v110 + fk * v111)
    return (1 - fi) * low + fi * high


@triton.jit
def slopes(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111):
    """Derive `blend` along i, j and k."""
    p00, p01 = (1 - fk) * v000 + fk * v001, (1 - fk) * v010 + fk * v011
    p10, p11 = (1 - fk) * v100 + fk * v101, (1 - fk) * v110 + fk * v111
    along_i = (1 - fj) * (p10 - p00) + fj * (p11 - p01)
    along_j = (1 - fi) * (p01 - p00) + fi * (p11 - p10)
    low = (1 - fj) * (v001 - v000) + fj * (v011 - v010)
    high = (1 - fj) * (v101 - v100) + fj * (v111 - v110)
    return along_i, along_j, (1 - fi) * low + fi * high


@triton.jit
def add_whole(at, value, scale, mask):
    """Add `value`, in whole multiples of ``1 / scale``, to int64 memory: the order is no matter."""
    whole = (value * scale).to(tl.int64)
    tl.atomic_add(at, whole, mask=mask & (whole != 0), sem="relaxed")


@triton.jit
def from_whole(sums, scale, out, n, block: tl.constexpr):
    """Turn what `add_whole` added up back into single precision."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    total = tl.load(sums + at, mask=mask, other=0).to(tl.float64) / tl.load(scale).to(tl.float64)
    tl.store(out + at, total.to(tl.float32), mask=mask)


@triton.jit
def add_corners(data, value, scale, i0, j0, k0, fi, fj, fk, nj, nk, mask):
    """Share `value` among eight corners with the weights of `blend`."""
    at = data + (i0 * nj + j0) * nk + k0
    plane = nj * nk
    low, high = value * (1 - fi), value * fi
    add_whole(at, low * (1 - fj) * (1 - fk), scale, mask)
    add_whole(at + 1, low * (1 - fj) * fk, scale, mask)
    add_whole(at + nk, low * fj * (1 - fk), scale, mask)
    add_whole(at + nk + 1, low * fj * fk, scale, mask)
    add_whole(at + plane, high * (1 - fj) * (1 - fk), scale, mask)
    add_whole(at + plane + 1, high * (1 - fj) * fk, scale, mask)
    add_whole(at + plane + nk, high * fj * (1 - fk), scale, mask)
    add_whole(at + plane + nk + 1, high * fj * fk, scale, mask)


@triton.jit
def land(displacement, to_grid, index_map, step_map, i, j, k, di, dj, dk, mask):
    """Where fixed voxels land in the moving grid, and the cell of the displacement's grid they read.

    Returns the position (3), the lower corner (3) and the weights of the upper corner (3).
    """
    i0, fi, _ = cell(tl.load(to_grid) * i + tl.load(to_grid + 1), di)
    j0, fj, _ = cell(tl.load(to_grid + 2) * j + tl.load(to_grid + 3), dj)
    k0, fk, _ = cell(tl.load(to_grid + 4) * k + tl.load(to_grid + 5), dk)
    x = tl.load(index_map) * i + tl.load(index_map + 1) * j + tl.load(index_map + 2) * k
    y = tl.load(index_map + 4) * i + tl.load(index_map + 5) * j + tl.load(index_map + 6) * k
    z = tl.load(index_map + 8) * i + tl.load(index_map + 9) * j + tl.load(index_map + 10) * k
    x, y, z = x + tl.load(index_map + 3), y + tl.load(index_map + 7), z + tl.load(index_map + 11)
    for axis in tl.static_range(3):
        field = displacement + axis * di * dj * dk
        v000, v001, v010, v011, v100, v101, v110, v111 = read_corners(field, i0, j0, k0, dj, dk, mask)
        step = blend(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111)
        x += tl.load(step_map + axis) * step
        y += tl.load(step_map + 3 + axis) * step
        z += tl.load(step_map + 6 + axis) * step
    return x, y, z, i0, j0, k0, fi, fj, fk


@triton.jit
def pull_back(result, step_map, scale, s0, s1, s2, i0, j0, k0, fi, fj, fk, di, dj, dk, mask):
    """Add a gradient with respect to the landing position to the displacement's corners that `land` read."""
    for axis in tl.static_range(3):
        g = tl.load(step_map + axis) * s0 + tl.load(step_map + 3 + axis) * s1
        g += tl.load(step_map + 6 + axis) * s2
        add_corners(result + axis * di * dj * dk, g, scale, i0, j0, k0, fi, fj, fk, dj, dk, mask)

"""How closely two standardised images follow each other in the box around every voxel, and its gradient."""

import triton
import triton.language as tl


@triton.jit
def products(fixed, moving, weights, out, n, block: tl.constexpr):
    """Fill w, wf, wm, wff, wfm and wmm: what is summed over boxes."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    f, m = tl.load(fixed + at, mask=mask), tl.load(moving + at, mask=mask)
    w = tl.load(weights + at, mask=mask)
    tl.store(out + at, w, mask=mask)
    tl.store(out + n + at, w * f, mask=mask)
    tl.store(out + 2 * n + at, w * m, mask=mask)
    tl.store(out + 3 * n + at, w * f * f, mask=mask)
    tl.store(out + 4 * n + at, w * f * m, mask=mask)
    tl.store(out + 5 * n + at, w * m * m, mask=mask)


@triton.jit
def correlate(boxes, weights, pulls, sums, n, share, block: tl.constexpr):
    """Sum of squared correlations, block by block, and in `pulls` (3, n) what the gradient needs."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    w = tl.load(weights + at, mask=mask, other=0)
    mass = tl.load(boxes + at, mask=mask, other=1)
    part = tl.where(w > 0, 1.0 / tl.where(w > 0, mass, 1.0), 0.0)
    f = tl.load(boxes + n + at, mask=mask, other=0) * part
    m = tl.load(boxes + 2 * n + at, mask=mask, other=0) * part
    ff = tl.maximum(tl.load(boxes + 3 * n + at, mask=mask, other=0) * part - f * f, 0.0) + share
    fm = tl.load(boxes + 4 * n + at, mask=mask, other=0) * part - f * m
    mm = tl.maximum(tl.load(boxes + 5 * n + at, mask=mask, other=0) * part - m * m, 0.0) + share
    to_f = w * fm / (ff * mm)
    squared = to_f * fm
    to_f, to_m = 2 * part * to_f, 2 * part * squared / mm
    tl.store(pulls + at, to_f, mask=mask)
    tl.store(pulls + n + at, to_m, mask=mask)
    tl.store(pulls + 2 * n + at, to_f * f - to_m * m, mask=mask)
    tl.store(sums + tl.program_id(0), tl.sum(squared))


@triton.jit
def correlate_adjoint(fixed, moving, weights, boxes, gain, out, n, block: tl.constexpr):
    """Pull the gradient with respect to the sum back to the moving image; `boxes` are box sums of `pulls`."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    f, m = tl.load(fixed + at, mask=mask), tl.load(moving + at, mask=mask)
    to_f, to_m = tl.load(boxes + at, mask=mask), tl.load(boxes + n + at, mask=mask)
    pull = f * to_f - m * to_m - tl.load(boxes + 2 * n + at, mask=mask)
    tl.store(out + at, tl.load(gain) * tl.load(weights + at, mask=mask) * pull, mask=mask)

"""The displacement that leads back, by damped Newton steps at every voxel at once."""

import triton
import triton.language as tl

from bidsapp.geometry.kernels.gpu.places import blend, cell, read_corners, slopes, unravel


@triton.jit
def _component(field, i0, j0, k0, fi, fj, fk, si, sj, sk, nj, nk, mask):
    """One component of the field at positions, and its derivatives there."""
    v000, v001, v010, v011, v100, v101, v110, v111 = read_corners(field, i0, j0, k0, nj, nk, mask)
    value = blend(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111)
    along_i, along_j, along_k = slopes(fi, fj, fk, v000, v001, v010, v011, v100, v101, v110, v111)
    return value, si * along_i, sj * along_j, sk * along_k


@triton.jit
def _miss(field, d0, d1, d2, i, j, k, ni, nj, nk, mask):
    """By how much ``x + d`` misses x after the displacement (3), and the derivative (9), row by row."""
    n = ni * nj * nk
    i0, fi, si = cell(i + d0, ni)
    j0, fj, sj = cell(j + d1, nj)
    k0, fk, sk = cell(k + d2, nk)
    r0, s00, s01, s02 = _component(field, i0, j0, k0, fi, fj, fk, si, sj, sk, nj, nk, mask)
    r1, s10, s11, s12 = _component(field + n, i0, j0, k0, fi, fj, fk, si, sj, sk, nj, nk, mask)
    r2, s20, s21, s22 = _component(field + 2 * n, i0, j0, k0, fi, fj, fk, si, sj, sk, nj, nk, mask)
    return r0 + d0, r1 + d1, r2 + d2, s00 + 1, s01, s02, s10, s11 + 1, s12, s20, s21, s22 + 1


@triton.jit
def _newton(r0, r1, r2, s00, s01, s02, s10, s11, s12, s20, s21, s22):
    """Solve the derivative for what is missed: the step (3), and the determinant."""
    c0, c1, c2 = s11 * s22 - s12 * s21, s12 * s20 - s10 * s22, s10 * s21 - s11 * s20
    det = s00 * c0 + s01 * c1 + s02 * c2
    part = 1.0 / tl.where(tl.abs(det) >= 1e-6, det, 1.0)
    p0 = part * (c0 * r0 + (s02 * s21 - s01 * s22) * r1 + (s01 * s12 - s02 * s11) * r2)
    p1 = part * (c1 * r0 + (s00 * s22 - s02 * s20) * r1 + (s02 * s10 - s00 * s12) * r2)
    p2 = part * (c2 * r0 + (s01 * s20 - s00 * s21) * r1 + (s00 * s11 - s01 * s10) * r2)
    return p0, p1, p2, det


@triton.jit
def invert(field, start, out, tolerance, steps, n, ni, nj, nk, block: tl.constexpr):
    """Find d with ``d(x) + field(x + d(x)) = 0`` from `start` on: in `steps`, each halved up to 7 times."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n
    i, j, k = unravel(at, nj, nk)
    d0 = tl.load(start + at, mask=mask, other=0)
    d1 = tl.load(start + n + at, mask=mask, other=0)
    d2 = tl.load(start + 2 * n + at, mask=mask, other=0)
    r0, r1, r2, s00, s01, s02, s10, s11, s12, s20, s21, s22 = _miss(
        field, d0, d1, d2, i, j, k, ni, nj, nk, mask
    )
    miss = r0 * r0 + r1 * r1 + r2 * r2
    going = mask & (miss >= tolerance * tolerance)
    done = tl.zeros([block], tl.int32)
    while tl.max(going.to(tl.int32), axis=0) > 0:
        p0, p1, p2, det = _newton(r0, r1, r2, s00, s01, s02, s10, s11, s12, s20, s21, s22)
        trying = going & (tl.abs(det) >= 1e-6)
        going = going & ~going  # until one of the trials is better
        damping = tl.full([block], 1.0, tl.float32)
        while tl.max(trying.to(tl.int32), axis=0) > 0:
            e0, e1, e2 = d0 - damping * p0, d1 - damping * p1, d2 - damping * p2
            q0, q1, q2, t00, t01, t02, t10, t11, t12, t20, t21, t22 = _miss(
                field, e0, e1, e2, i, j, k, ni, nj, nk, trying
            )
            after = q0 * q0 + q1 * q1 + q2 * q2
            better = trying & (after < miss)
            d0, d1, d2 = tl.where(better, e0, d0), tl.where(better, e1, d1), tl.where(better, e2, d2)
            r0, r1, r2 = tl.where(better, q0, r0), tl.where(better, q1, r1), tl.where(better, q2, r2)
            s00, s01, s02 = (
                tl.where(better, t00, s00),
                tl.where(better, t01, s01),
                tl.where(better, t02, s02),
            )
            s10, s11, s12 = (
                tl.where(better, t10, s10),
                tl.where(better, t11, s11),
                tl.where(better, t12, s12),
            )
            s20, s21, s22 = (
                tl.where(better, t20, s20),
                tl.where(better, t21, s21),
                tl.where(better, t22, s22),
            )
            miss = tl.where(better, after, miss)
            damping *= 0.5
            going = going | better
            trying = trying & ~better & (damping > 0.005)
        done += 1
        going = going & (miss >= tolerance * tolerance) & (done < steps)
    tl.store(out + at, d0, mask=mask)
    tl.store(out + n + at, d1, mask=mask)
    tl.store(out + 2 * n + at, d2, mask=mask)

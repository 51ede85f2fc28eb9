"""Lesions that no mask tells of: what scan and label map cannot both be right about.

Not a segmentation for measuring lesions by: it only keeps the alignment from closing what it should carry.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import find_objects, generate_binary_structure, label

from bidsapp.atlas.seganat import structures
from bidsapp.geometry.space import Space
from bidsapp.images.box import box_around
from bidsapp.images.neighbours import all_along_axes, any_in_ball, any_in_box
from bidsapp.images.regrid import on_grid
from bidsapp.images.volume import Volume
from bidsapp.lesions.light import find_light

SOLID_MM = 3.0
"""Half the thickness from which on unlabelled tissue with a way out of the brain counts: many label maps
leave out the sulci between gyri, where tissue and fluid are blurred together."""
STRAY_MM = 12.0
"""A ventricle so far from all ventricles of the atlas is none."""
UNKNOWN_MM = 8.0
"""Around the atlas's structures that the label map lacks, a missing label is no sign."""
SMALLEST_MM3 = 30.0
LARGEST_SHARE = 0.1
"""More than this share of the brain is no lesion, but another contrast or another brain."""
RIM_MM = 1.0
"""A body reaches so much farther than its signs: at its border, tissue is half of either kind."""
_BRIDGED_MM = 2.0
_THINNEST_MM = 1.2
_HULL_CLOSED_MM, _HULL_SKIN_MM = 5.0, 2.0
_COARSE = 2
_MARGIN_VOXELS = 8
_MARGIN = (_MARGIN_VOXELS, _MARGIN_VOXELS, _MARGIN_VOXELS)
_TOUCHING = generate_binary_structure(3, 3)
_FLUID = tuple(at for at, each in enumerate(structures()) if at and each.tissue == "csf")


def find_suspected(
    labels: Volume, t1w: Volume, atlas: Volume, affine: Float64[np.ndarray, "4 4"]
) -> Volume | None:
    """Find compact bodies that are unlike what the label map calls them.

    Three signs count, inside the brain of the atlas as the affine step lays it: brighter than white matter
    (contrast agent), no label although there are labels all around or tissue 6 mm thick, and fluid far from
    where the atlas has any (the dark core of a ring). Gaps of up to 4 mm are bridged, what is enclosed in the
    planes of at least two directions is filled, what is thinner than 2.4 mm (vessels) or smaller than 30 mm3
    is dropped, unless it is a bright speck. What is left reaches 1 mm farther.

    Parameters
    ----------
    labels
        SegAnat indices on their native grid.
    t1w
        The scan, on any grid of the same world.
    atlas
        SegAnat indices of the atlas.
    affine
        Atlas world to patient world, millimetres.

    Returns
    -------
    suspected
        Mask on the grid of `labels`; None if nothing is suspicious, or more than a tenth of the brain.
    """
    box = box_around(labels.data > 0, _MARGIN)
    part = _cut(labels, box)
    brain = part.data > 0
    inside, far, explained = _laid_over(part, atlas, affine)
    near = _cut(t1w, box) if t1w.space.matches(labels.space) else t1w
    light = find_light(part, near, inside | brain)
    solid = _opened(light.solid & ~explained, SOLID_MM, part.space.voxel_sizes_mm)
    enclosed = ~brain & ~_reaching(~brain, (0, 1, 2)) & ~explained
    signs = light.bright | solid | enclosed | (np.isin(part.data, _FLUID) & far)
    found = np.zeros(labels.space.shape, dtype=np.uint8)
    for body, where in _bodies(signs, inside | brain, part.space):
        found[box][where] |= body
    found[box] |= _grown(light.specks, RIM_MM, part.space.voxel_sizes_mm) & (inside | brain)
    return Volume(found, labels.space) if 0 < found.sum() <= LARGEST_SHARE * brain.sum() else None


def _reaching(flags: Bool[np.ndarray, "i j k"], axes: tuple[int, ...]) -> Bool[np.ndarray, "i j k"]:
    """Keep what is connected to an end of the grid by steps along these axes."""
    step = generate_binary_structure(3, 1)
    for axis in {0, 1, 2} - set(axes):
        np.moveaxis(step, axis, 0)[::2] = False
    pieces, _ = label(flags, structure=step)
    is_kept = np.zeros(pieces.max() + 1, dtype=np.bool_)
    for axis in axes:
        for end in (0, -1):
            is_kept[np.unique(pieces.take(end, axis=axis))] = True
    is_kept[0] = False
    return is_kept[pieces]


def _filled(body: Bool[np.ndarray, "i j k"], inside: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    """Fill what a body, alone or with the brain's surface, encloses in planes of at least two directions.

    The rim of a ring may have gaps, and be open where the brain ends.
    """
    n_planes = np.zeros(body.shape, dtype=np.uint8)
    for axes in ((0, 1), (0, 2), (1, 2)):
        is_cut_off = _reaching(inside, axes) & ~_reaching(inside & ~body, axes)
        n_planes += is_cut_off | ~_reaching(~body, axes)
    return body | (n_planes >= 2)


def _laid_over(
    part: Volume, atlas: Volume, affine: Float64[np.ndarray, "4 4"]
) -> tuple[Bool[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
    """Read the atlas at the patient's voxels: well inside the brain, far from fluid, near what has no label.

    The last is near a structure of the atlas that the patient's label map lacks as a whole.
    """
    whole = _cut(atlas, box_around(atlas.data > 0, _MARGIN))
    coarse = _cut(whole, tuple(slice(None, None, _COARSE) for _ in range(3)))
    data = np.pad(coarse.data, _MARGIN_VOXELS)
    step = coarse.space.affine.copy()
    step[:3, 3] = coarse.space.voxel_to_world(np.full((1, 3), -float(_MARGIN_VOXELS)))[0]
    space = Space((data.shape[0], data.shape[1], data.shape[2]), affine @ step)
    sizes = coarse.space.voxel_sizes_mm
    hull = _shrunk(_grown(data > 0, _HULL_CLOSED_MM, sizes), _HULL_CLOSED_MM + _HULL_SKIN_MM, sizes)
    near = _grown(np.isin(data, _FLUID), STRAY_MM, sizes)
    unknown = _grown(~np.isin(data, np.append(np.unique(part.data), 0)), UNKNOWN_MM, sizes)
    flags = hull.astype(np.uint8) + 2 * near.astype(np.uint8) + 4 * unknown.astype(np.uint8)
    read = on_grid(Volume(flags, space), part.space).data
    inside, close, explained = ((read & bit) > 0 for bit in (1, 2, 4))
    return inside, inside & ~close, explained


def _bodies(
    signs: Bool[np.ndarray, "i j k"], inside: Bool[np.ndarray, "i j k"], space: Space
) -> Iterator[tuple[Bool[np.ndarray, "a b c"], tuple[slice, ...]]]:
    """Make each heap of signs one body without gaps, thin parts or holes; give it and its box."""
    sizes = space.voxel_sizes_mm
    i, j, k = (max(1, round(_BRIDGED_MM / 2 / size)) for size in sizes)
    heaps, _ = label(any_in_box(signs, (i, j, k)), structure=_TOUCHING)
    margin = [int(np.ceil(2 * _BRIDGED_MM / size)) + 1 for size in sizes]
    for number, found in enumerate(find_objects(heaps), start=1):
        where = tuple(slice(max(0, at.start - m), at.stop + m) for at, m in zip(found, margin, strict=True))
        own = signs[where] & (heaps[where] == number)
        if own.sum() * space.voxel_volume_mm3 < SMALLEST_MM3 / 2:
            continue
        bridged = _shrunk(_grown(own, _BRIDGED_MM, sizes), _BRIDGED_MM, sizes) | own
        thick = _opened(_filled(bridged, inside[where]), _THINNEST_MM, sizes)
        pieces, _ = label(thick & inside[where], structure=_TOUCHING)
        is_kept = np.bincount(pieces.ravel()) * space.voxel_volume_mm3 >= SMALLEST_MM3
        is_kept[0] = False
        yield _grown(is_kept[pieces], RIM_MM, sizes) & inside[where], where


def _grown(flags: Bool[np.ndarray, "i j k"], mm: float, sizes: tuple[float, ...]) -> np.ndarray:
    grown = np.zeros_like(flags)
    if flags.any():
        box = _box_within(flags, mm, sizes)
        grown[box] = any_in_ball(flags[box], mm, sizes)
    return grown


def _shrunk(flags: Bool[np.ndarray, "i j k"], mm: float, sizes: tuple[float, ...]) -> np.ndarray:
    return ~any_in_ball(~np.pad(flags, 1), mm, sizes)[1:-1, 1:-1, 1:-1]


def _opened(flags: Bool[np.ndarray, "i j k"], mm: float, sizes: tuple[float, ...]) -> np.ndarray:
    """Drop what no ball of `mm` fits into; distances are measured only around where the ball's axes fit."""
    i, j, k = (int(mm / size) for size in sizes)
    deep = all_along_axes(flags, (i, j, k))
    opened = np.zeros_like(flags)
    if deep.any():
        box = _box_within(deep, mm, sizes)
        opened[box] = _grown(_shrunk(flags[box], mm, sizes), mm, sizes)
    return opened


def _box_within(flags: Bool[np.ndarray, "i j k"], mm: float, sizes: tuple[float, ...]) -> tuple[slice, ...]:
    """Give the box of all that lies within `mm` of the flags."""
    i, j, k = (int(np.ceil(mm / size)) + 1 for size in sizes)
    return box_around(flags, (i, j, k))


def _cut(volume: Volume, box: tuple[slice, ...]) -> Volume:
    """Keep a box of an image, or every n-th voxel."""
    data = np.ascontiguousarray(volume.data[box])
    affine = volume.space.affine @ np.diag([*(float(part.step or 1) for part in box), 1.0])
    start = np.array([[float(part.start or 0) for part in box]])
    affine[:3, 3] = volume.space.voxel_to_world(start)[0]
    return Volume(data, Space((data.shape[0], data.shape[1], data.shape[2]), affine))

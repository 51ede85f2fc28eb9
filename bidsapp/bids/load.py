"""SubjectFiles -> LoadedSubject: three files opened, and checked to belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from bidsapp.atlas.schemes import detect_scheme, to_seganat
from bidsapp.bids.find import SubjectFiles
from bidsapp.bids.sidecars import read_sidecar
from bidsapp.errors import DataError
from bidsapp.images.nifti import read_labels, read_volume
from bidsapp.images.volume import Volume

# Fractions of a mask's or a map's voxels inside the T1w's box: less than the first is another place
# altogether, less than the second deserves a word.
LEAST_FRACTION_INSIDE = 0.5
USUAL_FRACTION_INSIDE = 0.99
MAX_POINTS = 200_000


@dataclass(frozen=True, slots=True)
class LoadedSubject:
    """One scan in native space, with its label map in SegAnat and its lesion mask.

    Parameters
    ----------
    files
        Where everything came from.
    t1w
        Intensities, float32 or the file's integers.
    labels
        SegAnat indices 0 to 34, uint8, on the grid of their own file.
    unmapped
        Number of voxels that became background because no table knows their code, by code.
    lesion_mask
        On the grid of its own file, in the world of `t1w`: booleans, or one integer a lesion. None: there is
        no lesion.
    lesion_mask_kind
        "binary", "instances", or "none".
    warnings
        What was accepted but should be looked at, in words.
    """

    files: SubjectFiles
    t1w: Volume
    labels: Volume
    unmapped: Mapping[int, int]
    lesion_mask: Volume | None
    lesion_mask_kind: str
    warnings: tuple[str, ...]


def load_subject(files: SubjectFiles) -> LoadedSubject:
    """Open a scan, its label map and its lesion mask, and check that they lie in one place.

    No grid is changed: label map and mask may have grids other than the T1w's.

    Parameters
    ----------
    files
        As found; a lesion mask may be missing, a label map may not.

    Raises
    ------
    DataError
        If there is no label map, a file cannot be used, or label map or mask lie elsewhere than the T1w.
    """
    if files.labels is None:
        raise DataError(
            f"sub-{files.subject} must have an anatomical label map for {files.t1w.name}, got none. Run "
            "FreeSurfer, FastSurfer, SynthSeg or SAMSEG on it and give the result with -d NAME=FOLDER "
            f"({'; '.join(files.notes) or 'no dataset was searched'})"
        )
    t1w = read_volume(files.t1w)
    labels, unmapped, label_warnings = _load_labels(files.labels, files.label_scheme, t1w)
    if files.lesion_mask is None:
        return LoadedSubject(files, t1w, labels, unmapped, None, "none", label_warnings)
    mask, kind, mask_warnings = load_lesion_mask(files.lesion_mask)
    if mask is not None:
        mask_warnings += _check_lesion_place(mask, t1w, labels, files.lesion_mask)
    warnings = label_warnings + mask_warnings
    return LoadedSubject(files, t1w, labels, unmapped, mask, kind, warnings)


def _load_labels(
    path: Path, scheme: str | None, t1w: Volume
) -> tuple[Volume, Mapping[int, int], tuple[str, ...]]:
    """Read a label map and translate it to SegAnat."""
    original = read_labels(path)
    codes = {int(code) for code in np.unique(original.data)}
    if codes == {0}:
        raise DataError(f"the label map {path} must hold labels, got zeros only: make it again")
    fraction = fraction_inside(original, t1w)
    if fraction < LEAST_FRACTION_INSIDE:
        raise DataError(
            f"the label map must lie where the T1w lies, but {fraction:.0%} of {path} is inside the T1w's "
            "box: take the label map of this very scan, in its space"
        )
    translation = to_seganat(original, scheme or detect_scheme(codes, None))
    warnings = []
    if fraction < USUAL_FRACTION_INSIDE:
        warnings.append(f"{1 - fraction:.0%} of the label map {path.name} lies outside the T1w's box")
    if translation.unmapped:
        counts = ", ".join(f"{code} ({n} voxels)" for code, n in translation.unmapped.items())
        warnings.append(f"codes of {path.name} that no table knows became background: {counts}")
    return translation.labels, translation.unmapped, tuple(warnings)


def load_lesion_mask(path: Path) -> tuple[Volume | None, str, tuple[str, ...]]:
    """Read a lesion mask and tell what its numbers mean.

    Its JSON sidecar may say ``"LesionInstances": true`` (each value is one lesion) or name the classes of
    tissue that make the lesion, as ``"LesionLabels": [1, 3]``.

    Parameters
    ----------
    path
        On any grid.

    Returns
    -------
    mask, kind, warnings
        Booleans and "binary", one integer a lesion and "instances", or None and "none" if it is empty; and
        what should be looked at, in words.

    Raises
    ------
    DataError
        If nobody can tell what the values mean, or file or sidecar are broken.
    """
    volume, is_probability = _read_mask(path)
    warnings: tuple[str, ...] = ()
    if is_probability:
        volume = Volume((volume.data >= 0.5).astype(np.uint8), volume.space)
        warnings = (f"{path.name} holds probabilities: voxels of at least 0.5 were taken as lesion",)
    classes = _lesion_classes(path)
    if classes:
        if is_probability:
            raise DataError(f"classes of tissue must be whole numbers, got probabilities in {path}")
        volume = Volume(np.isin(volume.data, classes), volume.space)
        listed = ", ".join(map(str, classes))
        warnings = (f"the classes {listed} of {path.name} make the lesion, as its sidecar says",)
    values = {int(value) for value in np.unique(volume.data)} - {0}
    if not values:
        return None, "none", (*warnings, f"the lesion mask {path.name} is empty: no lesion counted")
    if _holds_instances(path) and not classes:
        if is_probability:
            raise DataError(f"lesion instances must be whole numbers, got probabilities in {path}")
        return volume, "instances", warnings
    if values not in ({1}, {255}):
        raise DataError(
            f"a lesion mask must hold 0 and 1 (or 0 and 255), got the values {sorted(values)[:8]} in {path}: "
            "nobody can tell tissue classes from lesion numbers. If each value is one lesion, write "
            '"LesionInstances": true into its JSON sidecar or name it seg-lesions; if the values are tissue '
            'classes, write those that count as lesion, such as "LesionLabels": [1, 3]'
        )
    return Volume(volume.data > 0, volume.space), "binary", warnings


def _lesion_classes(path: Path) -> tuple[int, ...]:
    """Return the classes of tissue that a sidecar counts as lesion; none if it does not name any."""
    sidecar = read_sidecar(path)
    classes = sidecar.get("LesionLabels")
    if classes is None:
        return ()
    if sidecar.get("LesionInstances") is True or sidecar.get("instances") is True:
        raise DataError(
            f"the values of {path} cannot be both LesionInstances and LesionLabels: leave one in its sidecar"
        )
    if not isinstance(classes, list) or not classes or not all(_is_class(value) for value in classes):
        raise DataError(
            f"LesionLabels in the sidecar of {path} must list whole numbers from 1 up, got {classes!r}: "
            "mend it"
        )
    return tuple(classes)


def _is_class(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _read_mask(path: Path) -> tuple[Volume, bool]:
    """Read whole numbers, or else probabilities; True for probabilities."""
    try:
        return read_labels(path), False
    except DataError:  # not whole numbers: what else it may be is checked below
        volume = read_volume(path)
    low, high = float(volume.data.min()), float(volume.data.max())
    if low < 0 or high > 1:
        raise DataError(
            f"a lesion mask must hold whole numbers or probabilities from 0 to 1, got {low:g} to {high:g} in "
            f"{path}: this looks like an image"
        )
    return volume, True


def _holds_instances(path: Path) -> bool:
    """Tell whether name or sidecar say that each value is one lesion."""
    parts = path.name.split("_")
    if "seg-lesions" in parts or "desc-instances" in parts:
        return True
    sidecar = read_sidecar(path)
    return sidecar.get("LesionInstances") is True or sidecar.get("instances") is True


def _check_lesion_place(mask: Volume, t1w: Volume, labels: Volume, path: Path) -> tuple[str, ...]:
    """Refuse a mask outside the scan or outside the brain, and warn of what is merely odd."""
    inside_t1w = fraction_inside(mask, t1w)
    if inside_t1w < LEAST_FRACTION_INSIDE:
        raise DataError(
            f"the lesion mask must lie where the T1w lies, but {inside_t1w:.0%} of {path} is inside the "
            "T1w's box: take the mask drawn on this scan, in its space"
        )
    inside_brain = fraction_inside(mask, labels, margin_mm=5.0, only_labelled=True)
    if inside_brain < LEAST_FRACTION_INSIDE:
        raise DataError(
            f"the lesion mask must lie in the brain, but {inside_brain:.0%} of {path} is inside the box "
            "around the label map: check that mask and label map are in the space of this T1w"
        )
    warnings = []
    if inside_t1w < USUAL_FRACTION_INSIDE:
        warnings.append(f"{1 - inside_t1w:.0%} of the lesion mask {path.name} lies outside the T1w's box")
    if not mask.space.matches(t1w.space):
        warnings.append(
            f"the lesion mask {path.name} has another grid than the T1w ({mask.space.shape} against "
            f"{t1w.space.shape}): it is used on its own grid, placed by its header"
        )
    return tuple(warnings)


def fraction_inside(
    inner: Volume, outer: Volume, *, margin_mm: float = 0.0, only_labelled: bool = False
) -> float:
    """Tell what part of a mask lies in the box of another volume, in world space.

    Parameters
    ----------
    inner
        Its voxels that are not zero count, each by its centre. Of very many, only every n-th.
    outer
        Its box reaches half a voxel beyond the outermost voxel centres.
    margin_mm
        Widens the box.
    only_labelled
        True: the box around the voxels of `outer` that are not zero; False: around all.

    Returns
    -------
    fraction
        0 to 1; an empty `inner` is inside (1).

    Examples
    --------
    >>> from bidsapp.geometry.space import Space
    >>> line = Volume(np.ones((4, 1, 1)), Space((4, 1, 1), np.eye(4)))
    >>> half = Volume(np.ones((2, 1, 1)), Space((2, 1, 1), np.eye(4)))
    >>> fraction_inside(line, half)
    0.5
    """
    points_mm = _points_mm(inner)
    if len(points_mm) == 0:
        return 1.0
    if only_labelled:
        low, high = _labelled_box(outer.data)
    else:
        low, high = np.zeros(3), np.array(outer.data.shape) - 1.0
    margin = 0.5 + margin_mm / np.array(outer.space.voxel_sizes_mm) + 1e-6
    voxels = outer.space.world_to_voxel(points_mm)
    is_inside = ((voxels >= low - margin) & (voxels <= high + margin)).all(axis=1)
    return float(is_inside.mean())


def _points_mm(volume: Volume) -> Float64[np.ndarray, "n 3"]:
    """Return world positions of at most `MAX_POINTS` voxels that are not zero."""
    flat = np.flatnonzero(volume.data)
    flat = flat[:: max(1, len(flat) // MAX_POINTS)]
    voxels = np.stack(np.unravel_index(flat, volume.data.shape), axis=1).astype(np.float64)
    return volume.space.voxel_to_world(voxels)


def _labelled_box(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last index along each axis at which anything is not zero."""
    along = [np.flatnonzero(data.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([line[0] for line in along], float), np.array([line[-1] for line in along], float)

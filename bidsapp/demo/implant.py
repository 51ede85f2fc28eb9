"""Put tumours of known size and place into a scan and its label map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.ndimage import gaussian_filter

from bidsapp.atlas.seganat import structures
from bidsapp.demo.mass_effect import MassEffect, push
from bidsapp.demo.placement import Candidates, place_tumours, structure_candidates
from bidsapp.demo.plan import Inside, Lesions, Tumour
from bidsapp.demo.shape import TumourShape, cover_fractions, draw_shape
from bidsapp.errors import DataError, ShapeError
from bidsapp.images.volume import Volume

# Lowest and highest intensity, in units of the scan's white matter.
BRIGHTNESS = {
    "enhancing": {"solid": (1.25, 1.5), "rim": (1.3, 1.6), "core": (0.45, 0.6)},
    "plain": {"solid": (0.65, 0.8), "rim": (0.7, 0.8), "core": (0.4, 0.55)},
}
TEXTURE_FRACTION = 0.05


@dataclass(frozen=True)
class Implanted:
    """A scan with tumours and the truth about them.

    Parameters
    ----------
    t1w
        The scan, float32.
    labels
        SegAnat label map as a tool that knows no tumours would write it.
    instances
        0 outside, n in the n-th tumour; more than half of the voxel is tumour.
    truth
        One row a tumour: `lesion` (value in `instances`), `x_mm` `y_mm` `z_mm` (centre of gravity of the
        mask, native world), `planned_x_mm` ... (centre of the drawn body), `diameter_mm`, `volume_mm3` (of
        the mask), `structure`, `kind`, `mass_effect_mm`.
    mass_effects
        Pushes the surrounding tissue went through, in the order they are taken back.
    """

    t1w: Volume
    labels: Volume
    instances: Volume
    truth: pd.DataFrame
    mass_effects: tuple[MassEffect, ...]

    @property
    def mask(self) -> Volume:
        """All tumours in one binary mask."""
        return Volume(self.instances.data > 0, self.instances.space)


def implant(
    t1w: Volume,
    labels: Volume,
    plan: Lesions,
    rng: np.random.Generator,
    *,
    candidates: Candidates | None = None,
) -> Implanted:
    """Put the tumours of a plan into a scan.

    Mass effect first moves the tissue; then each tumour is painted with soft edges, its intensity relative
    to the scan's own white matter, and its labels are overwritten. All distances are world millimetres, so
    a tumour is as round in a thick-sliced oblique scan as in an isotropic one.

    Parameters
    ----------
    t1w
        The scan.
    labels
        SegAnat label map on the same grid.
    plan
        The tumours.
    rng
        Source of chance; the same state gives the same scan.
    candidates
        Gives possible centres of a tumour; by default drawn evenly over its structure in `labels`.

    Raises
    ------
    ShapeError
        If both grids differ.
    DataError
        If there is no white matter, or no place for a tumour.
    """
    if not t1w.space.matches(labels.space):
        raise ShapeError(
            f"scan and label map must share one grid, got {t1w.space.shape} and {labels.space.shape}: "
            "resample the label map first"
        )
    brain = Volume(labels.data > 0, labels.space)
    draw = candidates if candidates is not None else structure_candidates(labels, rng)
    centres = place_tumours(plan.tumours, brain, draw)
    effects = tuple(
        MassEffect(centre, tumour.diameter_mm / 2, tumour.mass_effect_mm)
        for centre, tumour in zip(centres, plan.tumours, strict=True)
        if tumour.mass_effect_mm > 0
    )
    image = push(t1w.data.astype(np.float32), t1w.space, effects, interpolation="linear")
    overwritten = push(labels.data, labels.space, effects, interpolation="nearest")
    canvas = _Canvas(image, overwritten, np.zeros(labels.space.shape, dtype=np.uint8), labels, plan)
    shapes = [
        draw_shape(centre, tumour.diameter_mm, rng)
        for centre, tumour in zip(centres, plan.tumours, strict=True)
    ]
    for number, (shape, tumour) in enumerate(zip(shapes, plan.tumours, strict=True), start=1):
        _paint(canvas, shape, tumour, number, rng)
    instances = Volume(canvas.instances, labels.space)
    truth = _truth_table(plan.tumours, centres, instances)
    return Implanted(Volume(image, t1w.space), Volume(overwritten, labels.space), instances, truth, effects)


def white_matter_intensity(t1w: Volume, labels: Volume) -> float:
    """Median intensity of the cerebral white matter.

    Raises
    ------
    DataError
        If the label map has none.
    """
    white = (labels.data == 1) | (labels.data == 2)
    if not white.any():
        raise DataError("the label map has no cerebral white matter, which sets the tumours' brightness")
    return float(np.median(t1w.data[white]))


def noise_level(t1w: Volume, labels: Volume) -> float:
    """Estimate the scan's noise from neighbouring white-matter voxels.

    Median absolute difference of neighbours along the first axis, scaled to a standard deviation.
    """
    white = (labels.data == 1) | (labels.data == 2)
    pairs = white[1:] & white[:-1]
    if not pairs.any():
        return 0.0
    apart = np.abs(t1w.data[1:][pairs].astype(np.float64) - t1w.data[:-1][pairs])
    return float(1.4826 * np.median(apart) / np.sqrt(2))


class _Canvas:
    """The three arrays that tumours are painted into, and what the scan looked like before."""

    def __init__(
        self, image: np.ndarray, labels: np.ndarray, instances: np.ndarray, anatomy: Volume, plan: Lesions
    ) -> None:
        self.image, self.labels, self.instances = image, labels, instances
        self.space, self.plan = anatomy.space, plan
        before = Volume(image, anatomy.space)
        self.white_matter = white_matter_intensity(before, Volume(labels, anatomy.space))
        self.noise = noise_level(before, Volume(labels, anatomy.space))


def _paint(
    canvas: _Canvas, shape: TumourShape, tumour: Tumour, number: int, rng: np.random.Generator
) -> None:
    """Draw one tumour into image, labels and instances."""
    rim_mm = min(rng.uniform(1.5, 3.0), 0.22 * tumour.diameter_mm)
    box, (whole, core) = cover_fractions(shape, canvas.space, insets_mm=(0.0, rim_mm))
    if tumour.kind == "solid":
        core = np.zeros_like(core)
    levels = BRIGHTNESS[canvas.plan.contrast]
    outer = rng.uniform(*levels["rim" if tumour.kind == "ring" else "solid"]) * canvas.white_matter
    inner = rng.uniform(*levels["core"]) * canvas.white_matter
    tissue = outer * (whole - core) + inner * core
    texture = _texture(whole.shape, canvas, rng)
    image = canvas.image[box]
    image[...] = (
        (1 - whole) * image + tissue * (1 + texture) + whole * canvas.noise * rng.standard_normal(whole.shape)
    )
    inside = whole >= 0.5
    if not inside.any():
        inside = whole == whole.max()
    canvas.instances[box][inside] = number
    _overwrite_labels(canvas.labels[box], inside, core >= 0.5, canvas.plan.inside)


def _texture(
    shape: tuple[int, ...], canvas: _Canvas, rng: np.random.Generator
) -> Float64[np.ndarray, "i j k"]:
    """Smooth relative variation of the intensity inside a tumour."""
    widths = 1.5 / np.array(canvas.space.voxel_sizes_mm)
    field = gaussian_filter(rng.standard_normal(shape), widths, mode="wrap")
    return np.asarray(TEXTURE_FRACTION * field / max(field.std(), 1e-9))


def _overwrite_labels(labels: np.ndarray, inside: np.ndarray, core: np.ndarray, how: Inside) -> None:
    """Write what a segmentation tool without a tumour class would, in place."""
    if how == "keep":
        return
    if how == "background":
        labels[inside] = 0
        return
    was = structures()[int(np.bincount(labels[inside]).argmax())]
    right = 1 if was.hemisphere == "right" else 0
    bright = 3 if was.region == "Cerebral White Matter" else 1
    labels[inside & ~core] = bright + right
    labels[inside & core] = 5 + right


def _truth_table(
    tumours: Sequence[Tumour], centres_mm: Float64[np.ndarray, "n 3"], instances: Volume
) -> pd.DataFrame:
    """Tabulate what was implanted."""
    rows = []
    for number, (tumour, planned) in enumerate(zip(tumours, centres_mm, strict=True), start=1):
        voxels = np.argwhere(instances.data == number)
        x, y, z = instances.space.voxel_to_world(voxels.astype(np.float64)).mean(axis=0)
        rows.append(
            {
                "lesion": number,
                "x_mm": x,
                "y_mm": y,
                "z_mm": z,
                "planned_x_mm": planned[0],
                "planned_y_mm": planned[1],
                "planned_z_mm": planned[2],
                "diameter_mm": tumour.diameter_mm,
                "volume_mm3": len(voxels) * instances.space.voxel_volume_mm3,
                "structure": tumour.structure,
                "kind": tumour.kind,
                "mass_effect_mm": tumour.mass_effect_mm,
            }
        )
    return pd.DataFrame(rows)

"""Flat cuts through a volume, taken in world millimetres, so that oblique scans need no reorienting.

Every picture is drawn in the neurological convention: the patient's left is on the left of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import map_coordinates

from bidsapp.images.volume import Volume

View = Literal["axial", "coronal", "sagittal"]
VIEWS: tuple[View, ...] = ("axial", "coronal", "sagittal")
WORLD_AXES: dict[View, tuple[int, int, int]] = {
    "axial": (0, 1, 2),
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
}
"""World axes (0 x, 1 y, 2 z) that run rightwards, upwards and out of the picture."""
EDGE_LETTERS: dict[View, tuple[str, str]] = {
    "axial": ("L", "R"),
    "coronal": ("L", "R"),
    "sagittal": ("P", "A"),
}
"""What lies at the left and at the right edge of the picture: world axes grow to the right, anterior, top."""
CONVENTION = "Neurological convention: the patient's left (L) is on the left of the picture."


@dataclass(frozen=True, slots=True)
class Plane:
    """A rectangle of pixels on which one world coordinate is constant.

    Parameters
    ----------
    view
        Which coordinate is constant: axial z, coronal y, sagittal x.
    position_mm
        Its value, world RAS+ millimetres.
    horizontal_mm, vertical_mm
        First and last world coordinate along the picture's axes (`WORLD_AXES`).
    pixel_mm
        Edge length of a pixel.
    """

    view: View
    position_mm: float
    horizontal_mm: tuple[float, float]
    vertical_mm: tuple[float, float]
    pixel_mm: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows = round((self.vertical_mm[1] - self.vertical_mm[0]) / self.pixel_mm) + 1
        columns = round((self.horizontal_mm[1] - self.horizontal_mm[0]) / self.pixel_mm) + 1
        return rows, columns

    def points_mm(self) -> Float64[np.ndarray, "rows columns 3"]:
        """World position of every pixel; the first row is the lowest, the first column the leftmost.

        Examples
        --------
        >>> Plane("sagittal", 7.0, (0.0, 2.0), (5.0, 6.0)).points_mm()[1, 2].tolist()
        [7.0, 2.0, 6.0]
        """
        rows, columns = self.shape
        horizontal, vertical, normal = WORLD_AXES[self.view]
        points = np.empty((rows, columns, 3))
        points[..., horizontal] = self.horizontal_mm[0] + np.arange(columns) * self.pixel_mm
        points[..., vertical] = (self.vertical_mm[0] + np.arange(rows) * self.pixel_mm)[:, np.newaxis]
        points[..., normal] = self.position_mm
        return points


def plane_through(view: View, centre_mm: Float64[np.ndarray, "3"], reach_mm: float, pixel_mm: float) -> Plane:
    """Return the square plane of edge ``2 * reach_mm`` around a world point."""
    horizontal, vertical, normal = WORLD_AXES[view]
    return Plane(
        view,
        float(centre_mm[normal]),
        (float(centre_mm[horizontal]) - reach_mm, float(centre_mm[horizontal]) + reach_mm),
        (float(centre_mm[vertical]) - reach_mm, float(centre_mm[vertical]) + reach_mm),
        pixel_mm,
    )


def sample_points(
    volume: Volume, points_mm: Float64[np.ndarray, "*shape 3"], *, interpolation: Literal["linear", "nearest"]
) -> Float32[np.ndarray, "*shape"]:
    """Read a volume at world points; 0 outside its grid.

    Parameters
    ----------
    volume
        Any grid, oblique or not.
    points_mm
        World RAS+ millimetres.
    interpolation
        "linear" for intensities, "nearest" for label numbers.
    """
    index = volume.space.world_to_voxel(points_mm.reshape(-1, 3)).T
    values = np.empty(index.shape[1], dtype=np.float32)
    order = 1 if interpolation == "linear" else 0
    map_coordinates(volume.data, index, values, order, mode="constant")  # type: ignore[call-overload]
    return values.reshape(points_mm.shape[:-1])


def world_box(mask: Volume, margin_mm: float) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Return the lowest and highest world corner of a mask (of its grid if empty), widened by a margin."""
    present = np.argwhere(mask.data)
    if len(present) == 0:
        present = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(mask.space.shape) - 1)
    low, high = present.min(axis=0), present.max(axis=0)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    world = mask.space.voxel_to_world(corners.astype(np.float64))
    return world.min(axis=0) - margin_mm, world.max(axis=0) + margin_mm


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Many planes on one canvas, in rows.

    Parameters
    ----------
    rows
        The planes of each row, all with one pixel size; first row on top.
    gap
        Empty pixels between two planes.
    """

    rows: tuple[tuple[Plane, ...], ...]
    gap: int = 4

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the canvas."""
        heights = [max(plane.shape[0] for plane in row) for row in self.rows]
        widths = [sum(plane.shape[1] for plane in row) + self.gap * (len(row) - 1) for row in self.rows]
        return sum(heights) + self.gap * (len(heights) - 1), max(widths)

    def placed(self) -> list[tuple[Plane, int, int]]:
        """Return each plane with the canvas row of its lowest and the column of its leftmost pixel."""
        total, width = self.shape
        top = total
        found = []
        for row in self.rows:
            height = max(plane.shape[0] for plane in row)
            free = width - sum(plane.shape[1] for plane in row)
            step = free / max(len(row) - 1, 1)
            left = 0.0 if len(row) > 1 else free / 2
            for plane in row:
                found.append((plane, top - height, round(left)))
                left += plane.shape[1] + step
            top -= height + self.gap
        return found

    def sample(
        self, volume: Volume, *, interpolation: Literal["linear", "nearest"]
    ) -> Float32[np.ndarray, "rows columns"]:
        """Read a volume on every plane; 0 between the planes. The canvas' first row is the lowest."""
        canvas = np.zeros(self.shape, dtype=np.float32)
        for plane, row, column in self.placed():
            rows, columns = plane.shape
            canvas[row : row + rows, column : column + columns] = sample_points(
                volume, plane.points_mm(), interpolation=interpolation
            )
        return canvas


def spread(low: float, high: float, count: int, through: Sequence[float] = ()) -> tuple[float, ...]:
    """Return evenly spread positions, the nearest moved onto each wanted one.

    Examples
    --------
    >>> spread(0.0, 10.0, 3, through=(7.0,))
    (0.0, 7.0, 10.0)
    """
    positions = np.linspace(low, high, count)
    for wanted in through:
        if low <= wanted <= high:
            positions[np.abs(positions - wanted).argmin()] = wanted
    return tuple(float(position) for position in np.sort(positions))


SLICES: dict[View, tuple[int, float, float]] = {
    "axial": (6, 0.16, 0.86),
    "coronal": (6, 0.14, 0.86),
    "sagittal": (5, 0.18, 0.82),
}
"""Number of slices of each view, and where in the brain's box the first and the last lie."""


def brain_mosaic(labels: Volume, through_mm: Float64[np.ndarray, "3"] | None = None) -> Mosaic:
    """Lay out three views with several slices each over the box of a label map.

    Parameters
    ----------
    labels
        Everything above 0 is to be seen.
    through_mm
        A world point that one slice of each view is to pass through, such as a lesion's centre.
    """
    low, high = world_box(Volume(labels.data > 0, labels.space), margin_mm=8.0)
    rows = []
    for view, (count, first, last) in SLICES.items():
        horizontal, vertical, normal = WORLD_AXES[view]
        size = high[normal] - low[normal]
        wanted = () if through_mm is None else (float(through_mm[normal]),)
        positions = spread(low[normal] + first * size, low[normal] + last * size, count, wanted)
        edges = (
            (float(low[horizontal]), float(high[horizontal])),
            (float(low[vertical]), float(high[vertical])),
        )
        rows.append(tuple(Plane(view, position, *edges) for position in positions))
    return Mosaic(tuple(rows))

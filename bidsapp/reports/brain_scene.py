"""What the viewer of the cohort's page shows: one picture that holds the atlas, and the lesions."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from matplotlib.image import imsave

from bidsapp.atlas.seganat import structures
from bidsapp.images.volume import Volume
from bidsapp.reports.cohort_tables import lesion_links
from bidsapp.reports.drawing import window
from bidsapp.reports.figures import HEAT
from bidsapp.reports.planes import sample_points, world_box

STEP_MM = 1.5
MARGIN_MM = 6.0
MOST_LESIONS = 20_000
TOP = 255


def brain_scene(
    template: Volume, labels: Volume, frequency: Volume | None, lesions: pd.DataFrame, patients: pd.DataFrame
) -> dict[str, object]:
    """Collect what the viewer needs, ready to become JSON.

    Parameters
    ----------
    template, labels
        The atlas and its SegAnat labels, on any grid.
    frequency
        Patients with a lesion at a voxel, or None.
    lesions
        One row a lesion: ``subject``, ``lesion``, ``atlas_x_mm`` to ``atlas_z_mm``, ``native_volume_mm3``,
        ``region``, ``site``. The largest `MOST_LESIONS` are shown; those without a place are not.
    patients
        Of the page.

    Returns
    -------
    scene
        ``shape``, ``origin`` and ``step`` of an upright grid in world millimetres; ``source``, its slices as
        one image (`tiles`); ``names`` of the labels; ``heat`` and ``top`` of the frequency; ``lesions``, a
        list of their ``x, y, z, radius`` in tenths of millimetres, patient, number and link; and two
        ``groupings`` of the lesions.
    """
    low, high = world_box(Volume(labels.data > 0, labels.space), MARGIN_MM)
    shape = tuple(int(each) for each in np.ceil((high - low) / STEP_MM) + 1)
    axes = [low[axis] + STEP_MM * np.arange(shape[axis]) for axis in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    grey = window(template)(sample_points(template, points, interpolation="linear"))
    top = 0.0 if frequency is None else float(frequency.data.max(initial=0))
    count = np.zeros(shape) if frequency is None else sample_points(frequency, points, interpolation="linear")
    channels = (
        np.round(TOP * np.clip(np.ma.getdata(grey), 0, 1)),
        sample_points(labels, points, interpolation="nearest"),
        np.round(TOP * count / max(top, 1e-9)),
    )
    place = ["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]
    shown = lesions[lesions[place].notna().all(axis=1)]
    shown = shown.sort_values("native_volume_mm3", ascending=False).head(MOST_LESIONS)
    return {
        "shape": shape,
        "origin": [round(float(each), 3) for each in low],
        "step": STEP_MM,
        "columns": tile_columns(shape[2]),
        "source": as_png(tiles(np.stack(channels, axis=-1).astype(np.uint8))),
        "names": [each.name if each.index else "" for each in structures()],
        "heat": (HEAT(np.linspace(0, 1, 32))[:, :3] * TOP).astype(int).tolist(),
        "top": top,
        "lesions": _lesions(shown, patients),
        "groupings": [_grouping("region", shown["region"]), _grouping("centre", shown["site"])],
    }


def tile_columns(depth: int) -> int:
    """Choose how many slices lie side by side.

    Examples
    --------
    >>> tile_columns(17)
    5
    """
    return int(np.ceil(np.sqrt(depth)))


def tiles(channels: UInt8[np.ndarray, "i j k 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
    """Lay the slices of a volume side by side: i runs to the right and j down within each, k over the slices.

    Examples
    --------
    >>> tiles(np.arange(2 * 1 * 3 * 3, dtype=np.uint8).reshape(2, 1, 3, 3))[..., 0].tolist()
    [[0, 9, 3, 12], [6, 15, 0, 0]]
    """
    width, height, depth, _ = channels.shape
    columns = tile_columns(depth)
    sheet = np.zeros((height * -(-depth // columns), width * columns, 3), dtype=np.uint8)
    for k in range(depth):
        row, column = divmod(k, columns)
        part = channels[:, :, k].transpose(1, 0, 2)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = part
    return sheet


def as_png(pixels: UInt8[np.ndarray, "rows columns 3"]) -> str:
    """Write pixels, without loss, as a ``data:`` address."""
    buffer = io.BytesIO()
    extra: dict[str, Any] = {"pil_kwargs": {"optimize": True}}
    imsave(buffer, pixels, format="png", **extra)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _lesions(shown: pd.DataFrame, patients: pd.DataFrame) -> list[list[object]]:
    """Give each lesion as a short list: x, y, z and radius in 0.1 mm, patient, number, link."""
    numbers = shown[["atlas_x_mm", "atlas_y_mm", "atlas_z_mm"]].to_numpy(np.float64)
    volume = shown["native_volume_mm3"].fillna(0).to_numpy(np.float64)
    radius = np.cbrt(0.75 * volume / np.pi)
    tenths = np.round(10 * np.column_stack([numbers, radius])).astype(int).tolist()
    names = (f"sub-{subject}" for subject in shown["subject"])
    rest = zip(names, shown["lesion"].astype(int).tolist(), lesion_links(shown, patients), strict=True)
    return [[*place, *each] for place, each in zip(tenths, rest, strict=True)]


def _grouping(name: str, column: pd.Series) -> Mapping[str, object]:
    """Give the values of a column, the most frequent first, and the place of each row's value among them."""
    known = column.astype("object").where(column.notna(), "n/a").astype(str)
    order = known.value_counts().index.tolist()
    numbers = {value: number for number, value in enumerate(order)}
    return {"name": name, "groups": order, "of": [numbers[value] for value in known]}

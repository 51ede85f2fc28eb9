import base64
import io
import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from bidsapp.reports.brain_scene import MOST_LESIONS, STEP_MM, brain_scene, tiles


@pytest.fixture(scope="module")
def scene(group_page):
    page = group_page
    return brain_scene(page.template, page.labels, page.frequency, page.lesions, page.patients)


def unpacked(scene):
    """Read the volume back as the page's script does."""
    nx, ny, nz = scene["shape"]
    data = base64.b64decode(scene["source"].split(",")[1])
    sheet = np.round(255 * imread(io.BytesIO(data))[..., :3]).astype(int)
    volume = np.empty((nx, ny, nz, 3), dtype=int)
    for k in range(nz):
        row, column = k // scene["columns"] * ny, k % scene["columns"] * nx
        volume[:, :, k] = sheet[row : row + ny, column : column + nx].transpose(1, 0, 2)
    return volume


def test_the_picture_holds_labels_and_frequency_at_their_world_place(scene, group_page):
    volume = unpacked(scene)
    rng = np.random.default_rng(2)
    index = rng.integers(0, scene["shape"], (400, 3))
    at = np.array(scene["origin"]) + STEP_MM * index
    space, nearest = group_page.labels.space, group_page.labels.space.world_to_voxel(at).round().astype(int)
    inside = ((nearest >= 0) & (nearest < space.shape)).all(axis=1)
    found = volume[tuple(index[inside].T)]
    assert np.mean(found[:, 1] == group_page.labels.data[tuple(nearest[inside].T)]) > 0.98
    peak = np.argwhere(volume[..., 2] == 255)
    assert scene["top"] == 3.0
    assert np.array(scene["origin"]) + STEP_MM * peak[peak[:, 0].argmin()] == pytest.approx(
        [-36, -10, 24], abs=16
    )


def test_left_is_where_x_is_low(scene, group_page):
    names = np.array(scene["names"])
    labels = unpacked(scene)[..., 1]
    middle = round(-scene["origin"][0] / STEP_MM)
    left = {name.split()[0] for name in names[np.unique(labels[: middle - 3])] if name}
    right = {name.split()[0] for name in names[np.unique(labels[middle + 3 :])] if name}
    assert (left, right) == ({"Left"}, {"Right"})
    assert len(names) == 35


def test_every_lesion_is_there_with_its_patient_number_and_groups(scene, group_page):
    largest = group_page.lesions.sort_values("native_volume_mm3").iloc[-1]
    x, y, z, radius, patient, number, link = scene["lesions"][0]
    assert [x, y, z] == [round(10 * largest[f"atlas_{axis}_mm"]) for axis in "xyz"]
    assert radius == round(10 * (0.75 * 30_000 / np.pi) ** (1 / 3))
    assert (patient, number) == (f"sub-{largest['subject']}", largest["lesion"])
    assert link == f"{patient}.html#lesion-{number}"
    regions, centres = scene["groupings"]
    assert regions["groups"][regions["of"][0]] == largest["region"]
    assert set(centres["groups"]) == {"North", "South"}
    assert len(scene["lesions"]) == len(regions["of"]) == len(group_page.lesions)


def test_lesions_without_a_place_or_beyond_the_limit_are_left_out(group_page):
    page = group_page
    many = pd.concat([page.lesions] * (MOST_LESIONS // len(page.lesions) + 1), ignore_index=True)
    found = brain_scene(page.template, page.labels, None, many, page.patients)
    assert len(found["lesions"]) == len(found["groupings"][0]["of"]) == MOST_LESIONS
    lost = page.lesions.assign(atlas_x_mm=np.nan)
    assert brain_scene(page.template, page.labels, None, lost, page.patients)["lesions"] == []


def test_tiles_keep_every_voxel():
    volume = np.arange(4 * 5 * 6 * 3).reshape(4, 5, 6, 3).astype(np.uint8)
    sheet = tiles(volume)
    assert sheet.shape == (10, 12, 3)
    assert np.array_equal(sheet[7, 9], volume[1, 2, 5])


BLINDNESS = {
    "protan": (0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998),
    "deutan": (0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881),
    "tritan": (1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900),
}
"""Machado, Oliveira and Fernandes 2009, full severity, on linear RGB. doi:10.1109/TVCG.2009.113"""


def lab(linear):
    """CIELAB, white D65, of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    scaled = to_xyz @ np.clip(linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    bent = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * bent[1] - 16, 500 * (bent[0] - bent[1]), 200 * (bent[1] - bent[2])])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_colours_of_the_viewer_are_told_apart_by_the_colour_blind(kind):
    script = files("bidsapp.reports").joinpath("templates/viewer.js").read_text(encoding="utf-8")
    (row,) = re.findall(r"const COLOURS = \[(.*?)\]", script)
    codes = re.findall(r"#[0-9a-f]{6}", row)
    assert len(codes) == 7
    srgb = np.array([[int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)] for code in codes])
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    seen = [lab(np.reshape(BLINDNESS[kind], (3, 3)) @ each) for each in linear]
    apart = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(range(7), 2)}
    assert min(apart.values()) > 10, min(apart, key=apart.__getitem__)

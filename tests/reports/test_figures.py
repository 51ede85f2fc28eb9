"""Pictures are decoded again: what counts is the pixel a reader sees."""

import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume
from bidsapp.reports.charts import convergence_picture, overlap_picture, size_picture
from bidsapp.reports.drawing import OUTLINES, border, draw_letters, window
from bidsapp.reports.figures import (
    FOLDED_COLOUR,
    ZoomPanel,
    frequency_picture,
    grid_picture,
    jacobian_picture,
    lesion_zoom,
    scan_mosaic,
)
from bidsapp.reports.picture import VIRTUAL_WORDS, Picture, encode, sheet
from bidsapp.reports.planes import VIEWS, Mosaic, Plane, brain_mosaic


def pixels(picture: Picture) -> np.ndarray:
    kind, data = picture.source.removeprefix("data:image/").split(";base64,")
    read = np.asarray(imread(io.BytesIO(base64.b64decode(data)), format=kind))[..., :3]
    return read / 255 if read.dtype == np.uint8 else read.astype(np.float64)


def flipped(volume: Volume) -> Volume:
    """The same world content stored with the first axis backwards."""
    affine = volume.space.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (volume.space.shape[0] - 1)
    affine[:3, 0] *= -1
    return Volume(volume.data[::-1].copy(), Space(volume.space.shape, affine))


def one_sided(sign: float) -> Volume:
    """A faint ball with a bright blob on the patient's right (sign +1) or left (-1)."""
    space = Space((24, 26, 28), np.array([[4.0, 0, 0, -46], [0, 4, 0, -50], [0, 0, 4, -54], [0, 0, 0, 1]]))
    points = space.voxel_centres_mm()
    data = 30.0 * (np.linalg.norm(points, axis=1) < 42)
    data[np.linalg.norm(points - np.array([sign * 24, 0, 0]), axis=1) < 12] = 255
    return Volume(data.reshape(space.shape).astype(np.float32), space)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("stored_backwards", [False, True])
def test_the_right_side_of_the_patient_is_on_the_right_of_the_picture(sign, stored_backwards):
    scan = one_sided(sign)
    scan = flipped(scan) if stored_backwards else scan
    panel = ZoomPanel("native", scan, None, np.zeros(3), None)
    shown = pixels(lesion_zoom([panel], 46.0, 2.6, "a blob", virtual=False))
    shown = shown[40:]  # below the title
    half = shown.shape[1] // 2
    left, right = shown[:, :half].mean(), shown[:, half:].mean()
    assert (right > 1.5 * left) if sign > 0 else (left > 1.5 * right)


@pytest.mark.parametrize("view", VIEWS)
def test_letters_stand_on_the_edges_they_name(view):
    axes = Figure().add_axes((0, 0, 1, 1))
    plane = Plane(view, 12.0, (-50.0, 50.0), (-40.0, 40.0))
    draw_letters(axes, plane, 0, 0)
    place = {text.get_text(): text.get_position()[0] for text in axes.texts}
    first, last = ("P", "A") if view == "sagittal" else ("L", "R")
    assert place[first] < 10
    assert place[last] > 90
    assert any(name.endswith(" 12") for name in place)


def test_a_mosaic_of_the_head_shows_the_blob_on_its_side():
    scan = one_sided(1.0)
    labels = Volume((scan.data > 0).astype(np.uint8), scan.space)
    full = brain_mosaic(labels)
    mosaic = Mosaic(((full.rows[1][2],),))
    canvas = mosaic.sample(scan, interpolation="linear")
    assert canvas[:, canvas.shape[1] // 2 :].sum() > 2 * canvas[:, : canvas.shape[1] // 2].sum()


def test_the_border_of_a_disc_lies_on_its_radius():
    across, up = np.meshgrid(np.arange(41), np.arange(41))
    lines = border(np.clip(10.5 - np.hypot(across - 20, up - 20), 0, 1).astype(np.float32), "red", 1.0)
    radius = np.hypot(*(lines.curves[0] - 20).T)
    np.testing.assert_allclose(radius, 10, atol=0.1)


def test_an_empty_mask_has_no_border():
    assert border(np.zeros((5, 6), dtype=np.float32), "red", 1.0).curves == ()


def test_outlines_leave_the_background_out():
    assert all(0 not in outline.classes and outline.classes for outline in OUTLINES)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_flat_image_can_be_shown(value):
    limits = window(Volume(np.full((4, 5, 6), value), Space((4, 5, 6), np.eye(4))))
    assert limits.vmin < limits.vmax


def test_folded_voxels_are_green_unlike_the_ground_and_unchanged_ones_white(participant_page):
    labels = participant_page.fixed_labels
    mosaic = Mosaic(((brain_mosaic(labels).rows[0][3],),))
    whole = Volume(np.ones(labels.space.shape, dtype=np.float32), labels.space)
    folded = Volume(-np.ones(labels.space.shape, dtype=np.float32), labels.space)
    white = pixels(jacobian_picture(mosaic, whole, labels, "flat", virtual=False))
    green = pixels(jacobian_picture(mosaic, folded, labels, "folded", virtual=False))
    middle = (
        slice(white.shape[0] // 3, white.shape[0] // 2),
        slice(white.shape[1] // 3, white.shape[1] // 2),
    )
    assert np.median(white[middle]) > 0.92
    colour = FOLDED_COLOUR[:3]
    assert np.median(green[middle], axis=(0, 1)) == pytest.approx(colour, abs=0.05)
    ground = green[green.shape[0] // 2, green.shape[1] // 100]
    assert np.linalg.norm(ground - colour) > 0.5


def test_every_picture_of_virtual_data_says_so(participant_page):
    page, mosaic = participant_page, brain_mosaic(participant_page.fixed_labels)
    draw = {
        "mosaic": lambda virtual: scan_mosaic(mosaic, page.warped, (), "scan", "a", virtual=virtual),
        "jacobian": lambda virtual: jacobian_picture(
            mosaic, page.jacobian, page.fixed_labels, "a", virtual=virtual
        ),
        "grid": lambda virtual: grid_picture(
            mosaic, page.warped, page.displacement_mm, page.jacobian, "a", virtual=virtual
        ),
        "frequency": lambda virtual: frequency_picture(
            mosaic, page.template, page.jacobian, "patients", "a", virtual=virtual
        ),
        "overlap": lambda virtual: overlap_picture(page.structures, virtual=virtual),
        "convergence": lambda virtual: convergence_picture(page.convergence, virtual=virtual),
        "sizes": lambda virtual: size_picture(page.lesions["native_volume_mm3"], virtual=virtual),
    }
    for name, make in draw.items():
        marked, plain = pixels(make(True)), pixels(make(False))
        corner = (slice(2, 40), slice(marked.shape[1] * 7 // 8, None))
        assert np.abs(marked[corner] - plain[corner]).max() > 0.3, name


def test_a_sheet_carries_the_words_for_virtual_data():
    assert VIRTUAL_WORDS in [text.get_text() for text in sheet(5.0, 2.0, "title", virtual=True).texts]
    assert VIRTUAL_WORDS not in [text.get_text() for text in sheet(5.0, 2.0, "title", virtual=False).texts]


def test_a_finished_figure_is_let_go():
    figure = sheet(4.0, 1.0, "title", virtual=False)
    encode(figure, "words", kind="png")
    assert figure.texts == []


def test_letters_of_any_script_and_dollar_signs_do_not_stop_a_chart(participant_page):
    hostile = participant_page.convergence.rename(columns={"similarity": "$\\frac{ 中心"})
    assert convergence_picture(hostile, virtual=False).width > 0

"""Label schemes: every code of the tables lands where anatomy says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.atlas.schemes import detect_scheme, to_seganat
from bidsapp.atlas.seganat import structures
from bidsapp.errors import DataError
from bidsapp.geometry.space import Space
from bidsapp.images.volume import Volume

PAIRS = [
    # FreeSurfer left, right, Neuromorphometrics left, right, SegAnat left, right
    (2, 41, 45, 44, 1, 2),
    (3, 42, 101, 100, 3, 4),
    (4, 43, 52, 51, 5, 6),
    (5, 44, 50, 49, 7, 8),
    (7, 46, 41, 40, 9, 10),
    (8, 47, 39, 38, 11, 12),
    (10, 49, 60, 59, 13, 14),
    (11, 50, 37, 36, 15, 16),
    (12, 51, 58, 57, 17, 18),
    (13, 52, 56, 55, 19, 20),
    (17, 53, 48, 47, 21, 22),
    (18, 54, 32, 31, 23, 24),
    (26, 58, 30, 23, 25, 26),
    (28, 60, 62, 61, 27, 28),
    (30, 62, 64, 63, 29, 30),
]
SINGLE = [(14, 4, 31), (15, 11, 32), (16, 35, 33)]
FREESURFER = (
    {
        fs: index
        for left, right, _, _, *indices in PAIRS
        for fs, index in zip((left, right), indices, strict=True)
    }
    | {fs: index for fs, _, index in SINGLE}
    | {31: 34, 63: 34, 9: 13, 48: 14, 78: 1, 79: 2}
    | {1000: 3, 1035: 3, 2000: 4, 2035: 4, 11101: 3, 11175: 3, 12101: 4, 12175: 4}
    | {3001: 1, 4035: 2, 5001: 1, 5002: 2, 25: 1, 57: 2}
)
NEUROMORPHOMETRICS = (
    {nm: index for *_, left, right, a, b in PAIRS for nm, index in ((left, a), (right, b))}
    | {nm: index for _, nm, index in SINGLE}
    | {code: 4 - code % 2 for code in range(100, 208)}
)
FREESURFER_BACKGROUND = [0, 1, 24, 29, 40, 61, 80, 85, 98, 165, 257, 258, 259, 262, 501, 502, 507, 515, 530]
NEUROMORPHOMETRICS_BACKGROUND = [0, 1, 2, 3, 5, 10, 12, 15, 33, 42, 43, 46, 53, 54, 69, 74, 75, 76, 99]


def labels_of(codes, dtype=np.int32, affine=None):
    data = np.asarray(codes, dtype=dtype)
    data = data.reshape((1, 1, -1)) if data.ndim == 1 else data
    return Volume(data, Space(data.shape, np.eye(4) if affine is None else affine))


def translated(code, scheme, company):
    """Translate one code beside one that is surely a structure."""
    translation = to_seganat(labels_of([code, company]), scheme)
    return int(translation.labels.data.flat[0]), dict(translation.unmapped)


# Every code


@pytest.mark.parametrize(("code", "index"), FREESURFER.items())
def test_freesurfer_codes_become_their_structure(code, index):
    assert translated(code, "freesurfer", 16) == (index, {})


@pytest.mark.parametrize(("code", "index"), NEUROMORPHOMETRICS.items())
def test_neuromorphometrics_codes_become_their_structure(code, index):
    assert translated(code, "neuromorphometrics", 35) == (index, {})


@pytest.mark.parametrize("code", FREESURFER_BACKGROUND)
def test_known_freesurfer_background_is_not_reported(code):
    assert translated(code, "freesurfer", 16) == (0, {})


@pytest.mark.parametrize("code", NEUROMORPHOMETRICS_BACKGROUND)
def test_known_neuromorphometrics_background_is_not_reported(code):
    assert translated(code, "neuromorphometrics", 35) == (0, {})


def test_the_codes_named_in_seganat_are_those_of_the_freesurfer_table():
    codes = [structure.freesurfer for structure in structures()]
    translation = to_seganat(labels_of(codes), "freesurfer")
    assert translation.labels.data.ravel().tolist() == list(range(35))


def test_both_choroid_plexuses_become_one_structure():
    assert to_seganat(labels_of([31, 63, 136, 163]), "freesurfer").labels.data.tolist() == [[[34] * 4]]


def test_unknown_codes_become_background_and_are_counted():
    translation = to_seganat(labels_of([2, 777, 777, 5555, 70000, 70000, 2000000000]), "freesurfer")
    assert translation.labels.data.tolist() == [[[1, 0, 0, 0, 0, 0, 0]]]
    assert translation.unmapped == {777: 2, 5555: 1, 70000: 2, 2000000000: 1}
    assert to_seganat(labels_of([45, 208, 94]), "neuromorphometrics").unmapped == {94: 1, 208: 1}


# Codes without a side


@pytest.mark.parametrize("code", [77, 99, 192, 251, 252, 253, 254, 255])
def test_midline_white_matter_goes_to_the_nearer_side(code):
    line = [2, code, code, code, 0, code, 41]
    assert to_seganat(labels_of(line), "freesurfer").labels.data.tolist() == [[[1, 1, 1, 1, 0, 2, 2]]]


def test_the_fifth_ventricle_goes_to_the_nearer_lateral_ventricle():
    line = [4, 72, 2, 41, 72, 43]
    assert to_seganat(labels_of(line), "freesurfer").labels.data.tolist() == [[[5, 5, 1, 2, 6, 6]]]


@pytest.mark.parametrize("code", [71, 72, 73])
def test_the_vermis_goes_to_the_nearer_cerebellar_cortex(code):
    line = [39, code, code, 0, code, 38]
    translation = to_seganat(labels_of(line), "neuromorphometrics")
    assert translation.labels.data.tolist() == [[[11, 11, 11, 0, 12, 12]]]


def test_nearer_is_measured_in_millimetres_not_in_voxels():
    codes = np.zeros((4, 5, 6), np.int32)
    codes[0, 0, 0], codes[3, 0, 0], codes[0, 2, 0] = 253, 2, 41  # 3 voxels of 1 mm, 2 voxels of 2 mm
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    assert to_seganat(labels_of(codes, affine=affine), "freesurfer").labels.data[0, 0, 0] == 1
    assert to_seganat(labels_of(codes), "freesurfer").labels.data[0, 0, 0] == 2


@given(data=st.data())
def test_the_nearer_side_is_what_comparing_all_distances_gives(data):
    codes = np.array(data.draw(st.lists(st.sampled_from([0, 2, 41, 253]), min_size=120, max_size=120)))
    codes[:2] = 2, 41
    affine = np.array([[0.8, 0.3, 0, -90], [-0.3, 0.8, 0.1, 40], [0.1, -0.2, 2.5, 7], [0, 0, 0, 1]])
    labels = labels_of(codes.reshape(4, 5, 6), affine=affine)
    indices = to_seganat(labels, "freesurfer").labels.data
    centres = labels.space.voxel_centres_mm()
    left, right = (centres[codes == code] for code in (2, 41))
    for point, index in zip(centres[codes == 253], indices.ravel()[codes == 253], strict=True):
        distances = [np.linalg.norm(side - point, axis=1).min() for side in (left, right)]
        if abs(distances[0] - distances[1]) > 1e-6:
            assert index == 1 + np.argmin(distances)


def test_equally_near_goes_left():
    assert to_seganat(labels_of([41, 253, 2]), "freesurfer").labels.data.tolist() == [[[2, 1, 1]]]


def test_with_one_side_only_everything_goes_there_and_with_none_it_is_reported():
    assert to_seganat(labels_of([253, 41]), "freesurfer").labels.data.tolist() == [[[2, 2]]]
    translation = to_seganat(labels_of([253, 77, 77, 16]), "freesurfer")
    assert translation.labels.data.tolist() == [[[0, 0, 0, 33]]]
    assert translation.unmapped == {77: 2, 253: 1}


# Types and refusals


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "int64", "uint64", ">i2"])
def test_any_integer_type_is_translated_to_uint8(dtype):
    translation = to_seganat(labels_of([2, 41, 77], dtype), "freesurfer")
    assert translation.labels.data.dtype == np.uint8
    assert translation.labels.data.tolist() == [[[1, 2, 2]]]


def test_the_original_map_stays_as_it_was():
    labels = labels_of([2, 77, 777, 41])
    translation = to_seganat(labels, "freesurfer")
    assert labels.data.tolist() == [[[2, 77, 777, 41]]]
    assert translation.labels.space is labels.space


@pytest.mark.parametrize(("codes", "dtype"), [([2.0, 3.0], float), ([-1, 2], int)])
def test_labels_that_are_no_codes_are_refused(codes, dtype):
    with pytest.raises(DataError, match="whole numbers from zero up"):
        to_seganat(labels_of(codes, dtype), "freesurfer")


def test_an_unknown_scheme_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match="freesurfer, neuromorphometrics, got 'aal'"):
        to_seganat(labels_of([2]), "aal")


def test_a_map_without_any_structure_is_refused():
    with pytest.raises(DataError, match="no brain structure found"):
        to_seganat(labels_of([0, 1, 24]), "freesurfer")


# Which scheme?


ASEG = {
    2,
    41,
    3,
    42,
    4,
    43,
    7,
    46,
    8,
    47,
    10,
    49,
    11,
    50,
    12,
    51,
    13,
    52,
    14,
    15,
    16,
    17,
    53,
    18,
    54,
    24,
    77,
    85,
}
NMM = {
    4,
    11,
    23,
    30,
    31,
    32,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    44,
    45,
    46,
    47,
    48,
    51,
    52,
    55,
    56,
    57,
    58,
    71,
    *range(100, 208),
}

SHARED = {4, 11, 30, 31, 41, 44, 47, 48, 49, 50, 51, 52, 58, 60, 62}  # structures in both schemes


@pytest.mark.parametrize(
    "codes",
    [
        ASEG,
        ASEG | {0},
        ASEG - {3, 42} | set(range(1000, 1036)) | set(range(2000, 2036)),
        ASEG | {502, 507, 515, 530},
    ],
)
def test_freesurfer_is_recognised_by_its_codes(codes):
    assert detect_scheme(codes, None) == "freesurfer"


@pytest.mark.parametrize("codes", [NMM, NMM | {0}, NMM - set(range(150, 208))])
def test_neuromorphometrics_is_recognised_by_its_codes(codes):
    assert detect_scheme(codes, {}) == "neuromorphometrics"


@pytest.mark.parametrize("codes", [set(), {0}, {0, 1}, {1, 2, 3}, {4, 11, 15}, {0, 300, 301}, SHARED])
def test_codes_that_fit_both_or_none_are_refused_with_the_mend(codes):
    with pytest.raises(DataError, match=r"cannot tell the label scheme .* _dseg\.tsv with the columns index"):
        detect_scheme(codes, None)


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        ({2: "Left-Cerebral-White-Matter"}, "freesurfer"),
        ({45: "Left Cerebral White Matter"}, "neuromorphometrics"),
        ({41: "Right-Cerebral-White-Matter", 4: "Left-Lateral-Ventricle"}, "freesurfer"),
        ({41: "Left Cerebellum White Matter", 4: "3rd Ventricle"}, "neuromorphometrics"),
        ({10: "left_thalamus_proper"}, "freesurfer"),
    ],
)
def test_names_decide_where_codes_are_few(names, scheme):
    assert detect_scheme(set(names), names) == scheme


def test_names_win_over_codes():
    names = {44: "Right Cerebral White Matter", 45: "Left Cerebral White Matter"}
    assert detect_scheme(ASEG, names) == "neuromorphometrics"


def test_names_that_say_nothing_leave_it_to_the_codes():
    assert detect_scheme(ASEG, {2: "area 2", 41: "area 41"}) == "freesurfer"

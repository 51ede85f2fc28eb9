"""SegAnat: the numbering everything else relies on."""

import re

from bidsapp.atlas.seganat import N_CLASSES, structures


def test_indices_run_from_0_to_34_in_order():
    assert [structure.index for structure in structures()] == list(range(N_CLASSES))


def test_fifteen_pairs_four_single_structures_and_the_background_make_35():
    sides = [structure.hemisphere for structure in structures()]
    assert (sides.count("left"), sides.count("right"), sides.count("none")) == (15, 15, 5)


def test_left_and_right_of_a_pair_are_neighbours_with_left_first():
    for left, right in zip(structures()[1:31:2], structures()[2:32:2], strict=True):
        assert (left.hemisphere, right.hemisphere) == ("left", "right")
        assert (left.region, left.tissue) == (right.region, right.tissue)
        assert left.name == f"Left {left.region}"


def test_there_are_19_regions_without_the_background():
    assert len({structure.region for structure in structures()[1:]}) == 19


def test_names_codes_and_abbreviations_are_unique_and_colours_are_hexadecimal():
    for field in ("name", "freesurfer", "abbreviation"):
        assert len({getattr(structure, field) for structure in structures()}) == N_CLASSES
    assert all(re.fullmatch("#[0-9a-f]{6}", structure.color) for structure in structures())


def test_the_numbering_stays_as_it_was_published():
    codes = [structure.freesurfer for structure in structures()]
    assert codes[:7] == [0, 2, 41, 3, 42, 4, 43]
    assert codes[-4:] == [14, 15, 16, 31]

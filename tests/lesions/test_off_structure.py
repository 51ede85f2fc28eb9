import pandas as pd
import pytest

from bidsapp.errors import UsageError
from bidsapp.lesions.off_structure import assigned_regions
from bidsapp.lesions.table import empty_lesion_table

LESIONS = pd.DataFrame(
    {
        "structure_centroid": ["Left Putamen", None, None],
        "structure_nearest": ["Left Putamen", "Right Cerebral Cortex", None],
        "structure_majority": ["Left Cerebral White Matter", "Brain Stem", None],
    },
    index=[3, 5, 7],
)


@pytest.mark.parametrize(
    ("policy", "regions", "sides"),
    [
        ("exclude", ["Putamen", None, None], ["left", None, None]),
        ("nearest", ["Putamen", "Cerebral Cortex", None], ["left", "right", None]),
        ("overlap", ["Cerebral White Matter", "Brain Stem", None], ["left", "none", None]),
    ],
)
def test_each_policy_gives_region_and_side_by_its_own_rule(
    policy: str, regions: list[str | None], sides: list[str | None]
) -> None:
    found = assigned_regions(LESIONS, policy)
    assert [value if pd.notna(value) else None for value in found["region"]] == regions
    assert [value if pd.notna(value) else None for value in found["hemisphere"]] == sides


def test_a_table_without_lesions_stays_empty() -> None:
    found = assigned_regions(empty_lesion_table(), "nearest")
    assert len(found) == 0
    assert {"region", "hemisphere"} <= set(found.columns)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="exclude, nearest, overlap, got 'keep'"):
        assigned_regions(LESIONS, "keep")

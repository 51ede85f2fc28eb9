import json

import pandas as pd
import pytest

from bidsapp.lesions.territories import patient_territory_fractions, territory_lesions

LESIONS = pd.DataFrame(
    {
        "subject": ["01", "01", "02", "03"],
        "territory": ["Left Basilar", "Right Lateral Ventricle", None, "Right Lateral Lenticulostriate"],
        "region_centroid": "Brain Stem",
        "hemisphere": "none",
        "atlas_volume_mm3": [30.0, 10.0, 0.0, 8.0],
        "territory_overlap": [
            json.dumps({"Left Basilar": 0.5, "Right Basilar": 0.3, "outside": 0.2}),
            json.dumps({"Right Lateral Ventricle": 1.0}),
            None,
            json.dumps({"Right Lateral Lenticulostriate": 0.75, "Left Anterior Cerebral Artery": 0.25}),
        ],
    }
)


def test_lesions_are_counted_by_artery_and_side() -> None:
    found = territory_lesions(LESIONS, "group")
    named = [name if pd.notna(name) else None for name in found["region"]]
    assert named == ["VB", None, None, "MCA"]
    assert found["region_centroid"].equals(found["region"])
    assert found.loc[[0, 3], "hemisphere"].tolist() == ["left", "right"]


def test_shares_of_a_patient_weigh_lesions_by_volume_and_add_up() -> None:
    found = patient_territory_fractions(LESIONS)
    assert found.index.tolist() == ["01", "03"]
    assert found.loc["01", ["VB", "outside"]].tolist() == pytest.approx([0.6, 0.4])
    assert found.loc["03", ["MCA", "ACA"]].tolist() == pytest.approx([0.75, 0.25])
    assert found.sum(axis=1).tolist() == pytest.approx([1, 1])


def test_without_a_map_no_patient_has_shares() -> None:
    bare = LESIONS.assign(territory=None, territory_overlap=None)
    assert len(patient_territory_fractions(bare)) == 0
    assert territory_lesions(bare, "circulation")["region"].isna().all()

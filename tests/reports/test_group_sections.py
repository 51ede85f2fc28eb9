from unittest.mock import Mock

import pandas as pd
import pytest

from bidsapp.analysis.places import PlaceAnalysis
from bidsapp.reports.place_sections import perfusion_section
from bidsapp.reports.robustness_sections import single_patient_sentence


def test_blood_flow_says_why_centres_were_not_compared():
    row = {"quantity": "median", "p_value": 0.5, "independent_p_value": 0.4, "centres_p_value": None}
    frame = pd.DataFrame([row | {"reason": None, "centres_reason": "fewer than two groups have lesions"}])
    places = Mock(spec=PlaceAnalysis, perfusion=frame, perfusion_by_site=frame.head(0))
    (cells,) = perfusion_section(places).tables[0].table.rows
    assert [each.text for each in cells[-3:]] == ["0.50", "0.40", "n/a (fewer than two groups have lesions)"]


@pytest.mark.parametrize(
    ("hangs", "tried", "words"),
    [
        ([True, False], [True, True], "Significant only with one single patient: A."),
        ([False, False], [True, True], "No finding hangs on a single patient."),
        ([False, False], [True, False], "who weigh most; the others were not left out."),
    ],
)
def test_what_hangs_on_one_patient_is_said_with_how_it_was_found(hangs, tried, words):
    influence = pd.DataFrame({"region": ["A", "B"], "hangs_on_patient": hangs, "every_patient_tried": tried})
    assert single_patient_sentence(influence).endswith(words)

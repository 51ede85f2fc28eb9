"""The Boutiques description follows from the parser, is valid, and makes commands that the parser reads."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bidsapp.arguments import build_parser
from deploy.descriptor import PLACE, describe

BOSH = Path(sys.executable).parent / "bosh"


def bosh(*words: str | Path) -> str:
    ended = subprocess.run([BOSH, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_description_is_that_of_the_parser() -> None:
    assert json.loads(PLACE.read_text(encoding="utf-8")) == describe(), "run python deploy/descriptor.py"


def test_boutiques_calls_it_valid() -> None:
    assert "OK" in bosh("validate", PLACE)
    assert "OK" in bosh("validate", "-b", PLACE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"analysis_level": ["participant"]}, {"levels": ["participant"], "force": False}),
        (
            {"analysis_level": ["participant", "group"], "participant_label": ["01", "02"], "nprocs": 4},
            {"levels": ["participant", "group"], "participant_label": ["01", "02"], "nprocs": 4},
        ),
        ({"analysis_level": ["group"], "force": True, "gpu": "none"}, {"force": True, "gpu": "none"}),
    ],
)
def test_the_commands_it_makes_are_ours(
    tmp_path: Path, given: dict[str, object], expected: dict[str, object]
) -> None:
    invocation = tmp_path / "invocation.json"
    places = {"bids_dir": "/data", "output_dir_name": "/out"}
    invocation.write_text(json.dumps(places | given), encoding="utf-8")
    said = bosh("exec", "simulate", PLACE, "-i", invocation)
    command = next(line for line in said.splitlines() if "metsatlas" in line)
    words = shlex.split(command.split("; metsatlas ")[1])
    read = vars(build_parser().parse_intermixed_args(words))
    assert (str(read["bids_dir"]), str(read["output_dir"])) == ("/data", "/out")
    assert {name: read[name] for name in expected} == expected

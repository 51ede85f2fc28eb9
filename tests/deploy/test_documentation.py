"""The commands of docs/deploy.md are those that are tested: same file, same arguments, same options."""

import re
import shlex

import pytest

from bidsapp.arguments import build_parser
from bidsapp.execution.cluster import LOW_MEMORY_PER_SCAN_GIB, MEMORY_PER_SCAN_GIB
from bidsapp.resume import GPU_MEMORY_GIB
from tests.execution.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
SCRIPT = (REPOSITORY / "container" / "without-docker.sh").read_text(encoding="utf-8")
WORKFLOW = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", [PAGE, SCRIPT, WORKFLOW, (REPOSITORY / "Makefile").read_text(encoding="utf-8")]
)
def test_every_build_argument_is_one_of_the_dockerfile(text: str) -> None:
    named = set(re.findall(r"--build-arg (\w+)=", text))
    assert named
    assert named <= set(re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE))


def test_every_run_command_is_one_the_app_understands() -> None:
    joined = PAGE.replace("\\\n", " ")
    ends = re.findall(
        r"^(?:docker|apptainer) run .*?(?:metsatlas|metsatlas\.sif) (/.*)$", joined, re.MULTILINE
    )
    ends += re.findall(
        r"^container/without-docker\.sh (?:oci|apptainer) \S+ \S+ (.*?)(?: +#.*)?$", joined, re.MULTILINE
    )
    assert len(ends) == 4
    for end in ends:
        build_parser().parse_intermixed_args(shlex.split(end))


def test_every_way_without_docker_is_one_of_the_script() -> None:
    ways = set(re.findall(r"^container/without-docker\.sh (\w+)", PAGE, re.MULTILINE))
    assert ways == {"build", "oci", "apptainer"}
    assert "  build | size | show | oci | apptainer)" in SCRIPT


def test_singularity_sets_what_docker_sets() -> None:
    definition = (REPOSITORY / "Singularity.def").read_text(encoding="utf-8")
    (block,) = re.findall(r"^ENV (PATH=.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    variables = [word for word in block.replace("\\\n", " ").split() if not word.startswith("NVIDIA")]
    assert len(variables) > 8
    assert [word for word in variables if f"export {word}" not in definition] == []


def test_the_memory_of_a_scan_is_the_one_that_is_counted_with() -> None:
    assert f"up to {MEMORY_PER_SCAN_GIB} GB of memory" in PAGE
    assert f"makes do with {LOW_MEMORY_PER_SCAN_GIB} GB" in PAGE
    assert f"The limit, {GPU_MEMORY_GIB:.0f} GiB free" in PAGE

"""The examples for clusters are run, or read by the parsers they are made for."""

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bidsapp.arguments import build_parser
from tests.execution.conftest import REPOSITORY, write_scans

DEPLOY = REPOSITORY / "deploy"
STUBBED = f"{sys.executable} -m benchmark.stubbed"
OPTIONS = ("--skip-bids-validation", "--device", "cpu")
DONE = "metsatlas finished: 4 ok, 0 failed, 0 skipped; exit 0"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_scans(tmp_path / "bids", ["01", "02", "03", "04"])


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    places = {"BIDS": str(tmp_path / "bids"), "OUT": str(tmp_path / "out"), "TMPDIR": str(tmp_path)}
    return {**os.environ, **places, "METSATLAS": STUBBED, "PYTHONPATH": str(REPOSITORY), **more}


def run(command: list[str | Path], variables: dict[str, str]) -> list[str]:
    """Run a command that must end well; return its lines."""
    ended = subprocess.run(
        command, env=variables, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stderr.splitlines()


@pytest.mark.slow
def test_the_job_array_shares_the_cohort_out(study: Path, tmp_path: Path) -> None:
    array = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "2", "SLURM_ARRAY_TASK_COUNT": "2"}
    array["SLURM_CPUS_PER_TASK"] = "1"
    for task in ("1", "2"):
        variables = environment(tmp_path, SLURM_ARRAY_TASK_ID=task, **array)
        lines = run(["bash", DEPLOY / "slurm_array.sh", *OPTIONS], variables)
        assert lines[-1] == "metsatlas finished: 2 ok, 0 failed, 0 skipped; exit 0"
    assert len(list((tmp_path / "out").glob("sub-*.html"))) == 4


def test_a_job_array_with_gaps_is_refused(study: Path, tmp_path: Path) -> None:
    array = {"SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "7", "SLURM_ARRAY_TASK_COUNT": "2"}
    variables = environment(tmp_path, SLURM_ARRAY_TASK_ID="3", **array)
    command = ["bash", str(DEPLOY / "slurm_array.sh")]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 64
    assert "must have no gaps" in ended.stderr


def test_the_job_array_starts_the_image_with_both_folders(study: Path, tmp_path: Path) -> None:
    apptainer = tmp_path / "apptainer"
    apptainer.write_text('#!/bin/bash\necho "$@" >&2\n')
    apptainer.chmod(0o755)
    variables = environment(tmp_path, LEVEL="group", IMAGE="app.sif", PATH=f"{tmp_path}:{os.environ['PATH']}")
    del variables["METSATLAS"]
    (line,) = run(["bash", DEPLOY / "slurm_array.sh"], variables)
    bids, out = tmp_path / "bids", tmp_path / "out"
    assert line.startswith(f"run --cleanenv --containall --bind {bids},{out} app.sif {bids} {out} group")
    build_parser().parse_intermixed_args(line.split("app.sif ")[1].split())


@pytest.mark.slow
def test_the_dask_example_runs_with_workers_of_its_own(study: Path, tmp_path: Path) -> None:
    start_here = tmp_path / "start"
    start_here.write_text('#!/bin/bash\nshift\nexec "$@"\n')
    start_here.chmod(0o755)
    dask = str(Path(sys.executable).parent / "dask")
    variables = environment(tmp_path, WORKERS="one two", START_ON=str(start_here), DASK=dask, THREADS="1")
    assert DONE in run(["bash", DEPLOY / "dask_cluster.sh", *OPTIONS], variables)
    assert list((tmp_path / "out" / "logs").glob("scheduler_*")) == []


def test_the_arguments_babs_gives_are_ours() -> None:
    config = yaml.safe_load((DEPLOY / "babs.yaml").read_text(encoding="utf-8"))
    pairs = config["bids_app_args"].items()
    words = [word for pair in pairs for word in pair if word]
    chosen = [
        {"$SUBJECT_SELECTION_FLAG": "", "--participant-label": "--participant-label sub-01"}.get(w, w)
        for w in words
    ]
    given = build_parser().parse_intermixed_args(["in", "out", "participant", *" ".join(chosen).split()])
    assert given.participant_label == ["sub-01"]
    assert given.work_dir == Path("$BABS_TMPDIR")
    version = (REPOSITORY / "version").read_text(encoding="utf-8").strip()
    assert config["zip_foldernames"] == {"metsatlas": version.replace(".", "-")}
    assert set(config) >= {"input_datasets", "cluster_resources", "singularity_args", "job_compute_space"}


@pytest.fixture
def hosts() -> Iterator[tuple[str, str, str]]:
    """Three network namespaces, as three hosts: a head that two workers can reach, and nobody else."""
    if os.getuid():
        pytest.skip("TWO HOSTS NOT TESTED: only root may make network namespaces")
    names = tuple(f"mets{os.getpid()}{which}" for which in "hab")
    plan = [["netns", "add", name] for name in names]
    for number, name in enumerate(names[1:], start=1):
        veth = f"v{os.getpid()}{number}"
        plan += [
            ["link", "add", veth, "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", name],
            ["-n", names[0], "addr", "add", f"10.77.{number}.1/24", "dev", veth],
            ["-n", name, "addr", "add", f"10.77.{number}.2/24", "dev", "eth0"],
            ["-n", names[0], "link", "set", veth, "up"],
            ["-n", name, "link", "set", "eth0", "up"],
        ]
    plan += [["-n", name, "link", "set", "lo", "up"] for name in names]
    try:
        for words in plan:
            made = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"TWO HOSTS NOT TESTED: ip {' '.join(words)}: {made.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.slow
def test_workers_on_two_hosts_share_the_cohort(
    study: Path, tmp_path: Path, hosts: tuple[str, str, str]
) -> None:
    head, *others = hosts
    variables = environment(tmp_path, METSATLAS_STUB_SECONDS="2")
    dask = [str(Path(sys.executable).parent / "dask")]

    def on(host: str, *words: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", host, *words]
        return subprocess.Popen(
            command,
            env=variables,
            cwd=REPOSITORY,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    running = [on(head, *dask, "scheduler", "--host", "0.0.0.0", "--port", "8786", "--no-dashboard")]  # noqa: S104
    try:
        for number, host in enumerate(others, start=1):
            words = ("worker", f"tcp://10.77.{number}.1:8786", "--nthreads", "1", "--no-dashboard")
            running.append(on(host, *dask, *words, "--local-directory", str(tmp_path)))
        time.sleep(8)  # both workers are to be there when scans are given out
        app = on(
            head, *STUBBED.split(), str(study), str(tmp_path / "out"), "participant", *OPTIONS, "-v",
            "--scheduler", "tcp://127.0.0.1:8786",
        )  # fmt: skip
        running.append(app)
        said = app.communicate(timeout=240)[1]
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.communicate(timeout=60)
    assert said.splitlines()[-1] == DONE, said
    assert set(re.findall(r"goes to tcp://(10\.77\.\d\.2):", said)) == {"10.77.1.2", "10.77.2.2"}


def test_every_example_is_named_in_the_documentation() -> None:
    text = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
    examples = itertools.chain(DEPLOY.glob("*.sh"), DEPLOY.glob("*.yaml"), DEPLOY.glob("*.json"))
    assert [path.name for path in examples if f"deploy/{path.name}" not in text] == []

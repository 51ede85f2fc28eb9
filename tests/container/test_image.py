"""The image does what a user and a cluster expect: read-only root, any user, no network, exit statuses."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.container.conftest import SCRIPT, Container, writable

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("container")]

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "output_files.txt"
RUN_ID = r"\d{8}-\d{6}_[0-9a-f-]{36}"
PLACES = {"oci": ("/data", "/out"), "apptainer": ("/mnt/data", "/mnt/out")}


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writable(tmp_path_factory.mktemp("nothing") / "empty")


@pytest.mark.parametrize("way", PLACES)
def test_the_virtual_cohort_runs_through_both_levels(
    container: Container,
    bids: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    out = writable(tmp_path_factory.mktemp(way) / "out")
    before = {path: path.stat().st_mtime_ns for path in bids.rglob("*")}
    monkeypatch.setenv("METSATLAS_PODMAN", "--env NUMBA_DEBUG_CACHE=1")
    run = container(way, bids, out, *PLACES[way], "participant", "group", "--sloppy", "--omp-nthreads", "1")
    assert run.returncode == 0, run.stderr
    if way == "oci":  # the image brings every kernel along, compiled
        assert "data loaded from '/tmp/metsatlas-12345/numba-" in run.stdout
        assert re.findall(r"data saved to .*", run.stdout) == []
    assert run.stderr.splitlines()[-1] == "metsatlas finished: 3 ok, 0 failed, 0 skipped, group ok; exit 0"
    files = [path for path in out.rglob("*") if path.is_file()]
    names = sorted(re.sub(RUN_ID, "RUN", path.relative_to(out).as_posix()) for path in files)
    assert names == GOLDEN.read_text(encoding="utf-8").splitlines()
    assert {(path.stat().st_uid, path.stat().st_gid) for path in out.rglob("*")} == {(12345, 12345)}
    assert {path: path.stat().st_mtime_ns for path in bids.rglob("*")} == before
    made_by = json.loads((out / "dataset_description.json").read_text())["GeneratedBy"][0]["Container"]
    assert made_by["Type"] == {"oci": "docker", "apptainer": "apptainer"}[way]
    assert made_by["Tag"] == "localhost/metsatlas:local"


@pytest.mark.parametrize("way", PLACES)
def test_exit_statuses_come_through(container: Container, nothing: Path, way: str) -> None:
    data, out = PLACES[way]
    for words, status, sentence in (
        (("--version",), 0, ""),
        ((data, out, "everything"), 17, "participant or group"),
        (("/nowhere", out, "participant"), 66, "mounted"),
        ((data, out, "participant", "--gpu", "require"), 64, "--nv"),
        ((data, "/usr/out", "participant", "--skip-bids-validation"), 66, "sub-"),
    ):
        run = container(way, nothing, nothing, *words)
        assert run.returncode == status, run.stderr
        assert sentence in run.stderr


@pytest.mark.parametrize("way", PLACES)
def test_the_root_is_read_only(container: Container, scans: Path, nothing: Path, way: str) -> None:
    run = container(way, scans, nothing, PLACES[way][0], "/usr/out", "participant", "--skip-bids-validation")
    assert run.returncode == 73, run.stderr
    assert "output folder /usr/out must be one we can write to" in run.stderr


def test_the_version_is_the_same_wherever_it_stands(container: Container, nothing: Path) -> None:
    version = (REPOSITORY / "version").read_text().strip()
    assert container("oci", nothing, nothing, "--version").stdout.strip() == f"metsatlas {version}"
    for label in ("org.opencontainers.image.version", "org.label-schema.version"):
        assert container("show", f'{{{{index .Labels "{label}"}}}}').stdout.strip() == version
    assert container("show", "{{.Config.Entrypoint}}").stdout.strip() == "[/opt/env/bin/metsatlas]"
    assert container("read", "/version").stdout.strip() == version


def test_stopping_the_container_stops_the_app(container: Container, bids: Path, nothing: Path) -> None:
    command = [SCRIPT, "oci", bids, nothing, "/data", "/out", "participant", "--skip-bids-validation"]
    name = f"metsatlas-stop-{os.getpid()}"
    run = subprocess.Popen(
        command, env={**os.environ, "METSATLAS_PODMAN": f"--name {name}"}, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    assert run.stderr.readline().startswith("metsatlas ")
    time.sleep(2)
    asked = time.monotonic()
    subprocess.run([SCRIPT, "signal", name, str(int(signal.SIGTERM))], check=True, capture_output=True)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + signal.SIGTERM, said
    assert "ended by SIGTERM" in said
    assert time.monotonic() - asked < 20

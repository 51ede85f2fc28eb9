"""Training: the loss falls, and whatever kills the process, the curve goes on as if nothing had been."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bidsapp.bids.save import load_table
from bidsapp.errors import DataError, UsageError
from bidsapp.registration.network.unet import VelocityNet
from bidsapp.training.checkpoint import TrainingState
from bidsapp.training.loop import Lesson, _remember, _update, train
from bidsapp.training.objective import GeneralObjective
from bidsapp.training.plan import TrainingPlan
from bidsapp.training.scans import see_plain
from tests.training.conftest import PLAN

REPOSITORY = Path(__file__).resolve().parents[2]


def curve(state: TrainingState) -> np.ndarray:
    return np.array([[row[name] for name in sorted(row)] for row in state.history])


def start_worker(*folders: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.training.worker_train", *map(str, folders)]
    return subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that was killed and went on, and one that nothing interrupted."""
    killed, whole = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("whole")
    worker = start_worker(killed)
    deadline = time.monotonic() + 600
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # somewhere in the steps after the first checkpoint
    worker.kill()
    assert worker.wait() == -9
    kept = torch.load(killed / "checkpoint.pt", weights_only=True)["step"]
    assert PLAN.check_every <= kept < PLAN.steps
    (killed / ".0123456789ab_checkpoint.pt").write_bytes(b"half a file")
    assert start_worker(killed, whole).wait() == 0
    return killed, whole


def test_the_loss_falls_and_unseen_heads_overlap_better(runs: tuple[Path, Path]) -> None:
    loss = load_table(runs[1] / "loss.tsv")
    total = (loss["dissimilarity"] + loss["pair_dissimilarity"]).to_numpy(dtype=float)
    assert total[16:].mean() < total[:16].mean() - 0.02
    dice = load_table(runs[1] / "validation.tsv")
    assert dice["step"].tolist() == list(range(0, PLAN.steps + 1, PLAN.check_every))
    assert dice["dice"].max() > dice["dice"].iloc[0] + 0.005  # of 32 steps, the last need not be the best


def test_killed_at_any_moment_the_curve_goes_on_as_if_nothing_had_been(runs: tuple[Path, Path]) -> None:
    for name in ("loss.tsv", "validation.tsv"):
        killed, whole = (load_table(folder / name) for folder in runs)
        assert len(killed) == len(whole)
        np.testing.assert_allclose(killed.to_numpy(dtype=float), whole.to_numpy(dtype=float), atol=1e-4)
    assert load_table(runs[0] / "loss.tsv")["step"].tolist() == list(range(1, PLAN.steps + 1))
    assert not list(runs[0].glob(".*"))


def test_a_finished_run_can_go_on_for_more_steps_and_repeats_none(lesson: Lesson, tmp_path: Path) -> None:
    short = replace(PLAN, steps=4)
    first = train(lesson, short, tmp_path, "cpu")[1]
    again = train(lesson, short, tmp_path, "cpu")[1]
    assert again.history == first.history
    longer = train(lesson, replace(PLAN, steps=6), tmp_path, "cpu")[1]
    assert longer.history[:4] == first.history
    assert [row["step"] for row in longer.history] == [1, 2, 3, 4, 5, 6]


def test_saving_memory_gives_the_same_curve(lesson: Lesson, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=3, objective="paper")
    plain = train(lesson, plan, tmp_path / "plain", "cpu")[1]
    recomputed = train(lesson, replace(plan, saves_memory=True), tmp_path / "recomputed", "cpu")[1]
    np.testing.assert_allclose(curve(recomputed), curve(plain), atol=1e-5)


def test_a_network_that_sees_labels_learns_in_either_precision(lesson: Lesson, tmp_path: Path) -> None:
    plan = replace(PLAN, sees="labels", steps=24, check_every=24)
    exact = curve(train(lesson, plan, tmp_path / "single", "cpu")[1])
    short = curve(train(lesson, replace(plan, bfloat16=True), tmp_path / "short", "cpu")[1])
    columns = sorted(["step", "dissimilarity", "pair_dissimilarity", "smoothness"])
    total = exact[:, columns.index("dissimilarity")] + exact[:, columns.index("pair_dissimilarity")]
    assert total[12:].mean() < total[:12].mean() - 0.02
    assert not np.array_equal(short, exact)
    np.testing.assert_allclose(short[:4], exact[:4], rtol=0.05, atol=0.01)


def test_what_is_kept_is_the_average_of_the_last_weights() -> None:
    average, newest = VelocityNet(seed=0), VelocityNet(seed=1)
    begun, target = (network.to_velocity.weight.clone() for network in (average, newest))
    _remember(average, newest, 1)
    torch.testing.assert_close(average.to_velocity.weight, 0.1 * begun + 0.9 * target)
    for step in range(100_000, 100_500):
        _remember(average, newest, step)
    left = 0.1 * 0.998**500
    torch.testing.assert_close(average.to_velocity.weight, left * begun + (1 - left) * target)


def test_an_update_whose_gradient_is_not_finite_is_left_out(
    lesson: Lesson, caplog: pytest.LogCaptureFixture
) -> None:
    network = VelocityNet(seed=0)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    heads = [see_plain(scan, lesson.grid) for scan in lesson.training[:2]]
    objective = GeneralObjective(lesson.atlas, "overlap")
    optimiser = torch.optim.Adam(network.parameters())
    network.to_velocity.weight.register_hook(lambda gradient: gradient * float("nan"))
    _update(network, optimiser, objective, heads, PLAN)
    assert "its gradient is not finite" in caplog.text
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_another_plan_or_other_scans_do_not_go_on_in_the_same_folder(lesson: Lesson, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=1)
    train(lesson, plan, tmp_path, "cpu")
    with pytest.raises(UsageError, match=r"begun with learning_rate 0.001 and must go on with it, got 0.1"):
        train(lesson, replace(plan, learning_rate=0.1), tmp_path, "cpu")
    fewer = replace(lesson, training=lesson.training[:2])
    with pytest.raises(UsageError, match=r"begun with 4 scans and goes on with the same, got 3"):
        train(fewer, plan, tmp_path, "cpu")


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_checkpoint_is_refused(lesson: Lesson, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(DataError, match="damaged or something else: delete it to begin again"):
        train(lesson, PLAN, tmp_path, "cpu")


def test_a_foreign_checkpoint_is_refused_and_runs_nothing(lesson: Lesson, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="must be a metsatlas training"):
        train(lesson, PLAN, tmp_path, "cpu")
    torch.save(TrainingPlan(), tmp_path / "checkpoint.pt")  # would run its constructor when unpickled
    with pytest.raises(DataError, match="damaged or something else"):
        train(lesson, PLAN, tmp_path, "cpu")


def test_a_network_that_diverged_ends_the_run(lesson: Lesson) -> None:
    network = VelocityNet(seed=0)
    torch.nn.init.constant_(network.to_velocity.get_parameter("bias"), float("nan"))
    heads = [see_plain(scan, lesson.grid) for scan in lesson.training[:2]]
    objective = GeneralObjective(lesson.atlas, "overlap")
    with pytest.raises(DataError, match=r"finite velocities, but its training diverged: .* smaller"):
        _update(network, torch.optim.Adam(network.parameters()), objective, heads, PLAN)

"""One holder at a time; a dead or silent one loses the lock, a living one never."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bidsapp.errors import OutputError
from bidsapp.execution import lock as lock_module
from bidsapp.execution.lock import HeldError, hold

TOLD_TO_DIE = """
import os, signal, sys
from pathlib import Path
from bidsapp.execution.lock import hold
with hold(Path(sys.argv[1]), must_wait=False):
    os.kill(os.getpid(), signal.SIGKILL)
"""
COUNT = """
import sys
from pathlib import Path
from bidsapp.execution import lock
lock._LOOK_AGAIN_S = 0.01
folder = Path(sys.argv[1])
for _ in range(20):
    with lock.hold(folder / "counter.lock", must_wait=True):
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
"""


def silent_holder(lock: Path, **changes: object) -> Path:
    """Leave a lock as a holder on another machine would."""
    lock.mkdir(parents=True)
    holder = {"key": "theirs", "host": "elsewhere", "pid": 7, "started": "1", "boot": "b", "namespace": "n"}
    (lock / "holder.json").write_text(json.dumps(holder | changes))
    return lock


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_lock_is_there_while_it_is_held_and_gone_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "logs" / "sub-01.lock"
    with hold(lock, must_wait=False):
        holder = json.loads((lock / "holder.json").read_text())
        assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
    assert list(lock.parent.iterdir()) == []


def test_a_lock_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "a.lock", must_wait=False):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_a_held_lock_is_refused_with_its_holders_name(tmp_path: Path) -> None:
    lock = tmp_path / "sub-01.lock"
    message = f"sub-01 is being worked on by process {os.getpid()} on {socket.gethostname()}"
    with hold(lock, must_wait=False), pytest.raises(HeldError, match=message), hold(lock, must_wait=False):
        pass


def test_a_held_lock_can_be_waited_for(tmp_path: Path) -> None:
    lock, order = tmp_path / "a.lock", []

    def second() -> None:
        with hold(lock, must_wait=True):
            order.append("second")

    with hold(lock, must_wait=False):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "second"]


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    subprocess.run([sys.executable, "-c", TOLD_TO_DIE, str(lock)], check=False)
    assert (lock / "holder.json").is_file()
    with hold(lock, must_wait=False):
        assert json.loads((lock / "holder.json").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_now_does_not_keep_a_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "a.lock", must_wait=False):
        ours = json.loads((tmp_path / "a.lock" / "holder.json").read_text())
    lock = silent_holder(tmp_path / "b.lock", **(ours | {"started": "1"}))
    with hold(lock, must_wait=False):
        pass


@pytest.mark.parametrize("has_said_who", [True, False])
def test_a_holder_elsewhere_loses_the_lock_only_after_two_silent_minutes(
    tmp_path: Path, *, has_said_who: bool
) -> None:
    lock = silent_holder(tmp_path / "a.lock")
    touched = lock / "holder.json"
    if not has_said_who:
        touched.unlink()
        touched = lock
    age(touched, 90)
    with pytest.raises(HeldError), hold(lock, must_wait=False):
        pass
    age(touched, 130)
    with hold(lock, must_wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_holder_keeps_its_lock_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_S", 0.02)
    lock = tmp_path / "a.lock"
    with hold(lock, must_wait=False):
        age(lock / "holder.json", 1000)
        time.sleep(0.3)
        assert time.time() - (lock / "holder.json").stat().st_mtime < 5


def test_who_lost_the_lock_does_not_take_it_from_the_new_holder(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with hold(lock, must_wait=False):
        (lock / "holder.json").write_text('{"key": "theirs"}')
    assert (lock / "holder.json").is_file()


def test_a_new_lock_that_was_taken_for_the_stale_one_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = silent_holder(tmp_path / "a.lock", key="new")
    answers = iter([{"key": "old"}, {"key": "new"}])
    monkeypatch.setattr(lock_module, "_read", lambda _: next(answers))
    lock_module._set_aside(lock)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


def test_only_one_process_at_a_time_is_inside(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    many = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in many] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "60"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not create"), hold(tmp_path / "file" / "a", must_wait=True):
        pass

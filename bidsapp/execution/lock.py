"""A lock that is a folder: one run works on a scan, however many share the output, on however many hosts.

Making a folder is atomic on every file system, network ones included, where locks on open files are not.
Whoever holds the lock says so in a file inside it and touches that file every few seconds. A lock is stale,
and may be taken over, when its holder is known to be dead (same boot and process namespace, no such process)
or has not touched it for two minutes by the clock of the file server. Should a holder be wrongly taken for
dead, two runs do the same work and write the same bytes: each file is moved into place whole.
"""

import contextlib
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bidsapp.errors import OutputError, TemporaryError

HEARTBEAT_S = 10.0
STALE_AFTER_S = 120.0
_LOOK_AGAIN_S = 0.5
_HOLDER = "holder.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


class HeldError(TemporaryError):
    """Another run holds the lock."""


@contextmanager
def hold(lock: Path, *, must_wait: bool) -> Iterator[None]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    lock
        The folder that is the lock; its parents are made.
    must_wait
        True: wait until it is free. False: give up at once if it is held.

    Raises
    ------
    HeldError
        If it is held and must not be waited for; says by whom.
    OutputError
        If nothing can be written there.
    """
    key = uuid.uuid4().hex
    while not _take(lock, key):
        if _is_stale(lock):
            _set_aside(lock)
        elif must_wait:
            time.sleep(_LOOK_AGAIN_S)
        else:
            raise HeldError(f"{lock.stem} is being worked on by {_describe_holder(lock)}")
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(lock, key, over), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        if _read(lock).get("key") == key:
            shutil.rmtree(lock, ignore_errors=True)


def _take(lock: Path, key: str) -> bool:
    """Make the folder, which only one can, and say who we are."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            lock.mkdir()
            (lock / _HOLDER).write_text(json.dumps({"key": key, **_ourselves()}), encoding="utf-8")
            return True
    except OSError as error:
        raise OutputError(
            f"could not create {lock} ({error.strerror}): choose an output folder that can be written"
        ) from error
    return False


def _ourselves() -> dict[str, object]:
    """Say which process this is, in words that mean the same to whoever shares the machine."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "boot": _BOOT.read_text(encoding="ascii").strip() if _BOOT.is_file() else "",
        "namespace": str(_NAMESPACE.readlink()) if _NAMESPACE.is_symlink() else "",
    }


def _started(pid: int) -> str | None:
    """Read when a process started, in ticks since the machine did; None if there is no such process.

    Process numbers are used again, number and start together are not. A zombie has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]


def _is_stale(lock: Path) -> bool:
    """Tell whether the holder is dead or silent."""
    holder = _read(lock)
    here = _ourselves()
    if holder and here["boot"] and all(holder.get(name) == here[name] for name in ("boot", "namespace")):
        return _started(int(str(holder["pid"]))) != holder["started"]
    return _silence_s(lock) > STALE_AFTER_S


def _silence_s(lock: Path) -> float:
    """Measure how long ago the holder last touched its file, by the clock of the file server alone."""
    probe = lock.parent / f"{lock.name}.{uuid.uuid4().hex[:12]}"
    try:
        probe.mkdir()
        now = probe.stat().st_mtime
        touched = (lock / _HOLDER) if (lock / _HOLDER).exists() else lock
        return now - touched.stat().st_mtime
    except OSError:  # the lock was given back meanwhile
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.rmdir()


def _set_aside(lock: Path) -> None:
    """Move a stale lock away and remove it; if another run was quicker, its new lock is put back."""
    stale = _read(lock).get("key")
    aside = lock.parent / f"{lock.name}.{uuid.uuid4().hex[:12]}"
    try:
        lock.rename(aside)
    except OSError:  # another run was quicker
        return
    if _read(aside).get("key") != stale:
        with contextlib.suppress(OSError):
            aside.rename(lock)
            return
    for left in (aside, *lock.parent.glob(f"{lock.name}.*")):
        shutil.rmtree(left, ignore_errors=True)


def _beat(lock: Path, key: str, over: threading.Event) -> None:
    """Touch the file of the holder until the block is over or the lock is no longer ours."""
    while not over.wait(HEARTBEAT_S) and _read(lock).get("key") == key:
        with contextlib.suppress(OSError):
            os.utime(lock / _HOLDER)


def _read(lock: Path) -> Mapping[str, object]:
    """Read who holds a lock; empty if nobody does, or has not yet written it down."""
    try:
        found = json.loads((lock / _HOLDER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _describe_holder(lock: Path) -> str:
    holder = _read(lock)
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'a host it has not named yet')}"

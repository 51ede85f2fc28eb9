"""End when asked to: Ctrl-C, ``docker stop`` and batch systems send a signal, and it must not get lost.

Compiled code turns the exception that a signal raises into another one. So the signal is remembered, and
whoever catches exceptions asks here before going on.
"""

import signal
import sys
from types import FrameType

_received: list[int] = []


def stop_on_signals() -> None:
    """End the process by `SystemExit` on SIGTERM and SIGINT, with the status 128 + signal."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def leave_if_asked() -> None:
    """Raise `SystemExit` again if a signal asked the process to end."""
    if _received:
        sys.exit(128 + _received[0])


def _stop(number: int, _: FrameType | None) -> None:
    _received.append(number)
    sys.stderr.write(f"metsatlas: ended by {signal.Signals(number).name}\n")
    leave_if_asked()

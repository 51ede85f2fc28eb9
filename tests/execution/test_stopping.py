"""A signal ends the process, also when compiled code swallows the exception it raises."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal
from bidsapp.execution.outcome import attempt
from bidsapp.execution.stopping import stop_on_signals

def swallow(number):
    try:
        os.kill(os.getpid(), number)
    except SystemExit as error:
        raise SystemError("returned a result with an exception set") from error

stop_on_signals()
attempt(swallow, {number})
print("went on")
"""


@pytest.mark.parametrize(("number", "status"), [("signal.SIGTERM", 143), ("signal.SIGINT", 130)])
def test_a_signal_that_compiled_code_swallowed_still_ends_the_process(number: str, status: int) -> None:
    program = PROGRAM.format(number=number)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stderr
    assert "went on" not in ended.stdout

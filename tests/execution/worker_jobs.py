"""Functions that worker processes can import by name."""

import logging
import os
import signal
import time

from bidsapp.errors import DataError
from bidsapp.execution.lock import HeldError


def work(item: str) -> str:
    """Do as the item says."""
    if item.startswith("die"):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "exit":
        os._exit(3)
    if item == "bad":
        raise DataError("the file must be an image, got a poem: convert it")
    if item == "bug":
        return str(1 / 0)
    if item == "odd":
        raise UnpicklableError(lambda: None)
    if item == "threads":
        return os.environ.get("OMP_NUM_THREADS", "unset")
    if item == "gpu":
        time.sleep(0.5)  # long enough for the other worker to take part
        return os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
    if item == "log":
        logging.getLogger("bidsapp.test").info("heard from the worker")
    time.sleep(0.1)
    return f"{item} in {os.getpid()}"


def give_up(item: str) -> str:
    """Meet another run at one of the items."""
    if item == "held":
        raise HeldError("sub-held is being worked on by process 7 on elsewhere")
    return "at once"


def wait_for(item: str) -> str:
    """Wait for the other run."""
    return "waited"


class UnpicklableError(Exception):
    """Holds what cannot travel between processes."""

    def __init__(self, held: object) -> None:
        super().__init__("odd")
        self.held = held

    def __reduce__(self) -> tuple:
        raise TypeError("cannot travel")

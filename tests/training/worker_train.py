"""Train on the tiny lesson in a process of its own, so that a test can kill it."""

import sys
from pathlib import Path

import torch

from bidsapp.training.loop import train
from tests.training.conftest import PLAN, make_lesson

if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        train(make_lesson(), PLAN, Path(folder), "cpu")

"""``python -m bidsapp`` is the command line."""

from bidsapp.cli import run

if __name__ == "__main__":
    run()

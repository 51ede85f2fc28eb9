"""Door bell: run the app and end with its exit status."""

from bidsapp.cli import run

if __name__ == "__main__":  # worker processes import this file again
    run()

"""Door bell: run the app and end with its exit status."""

from bidsapp.cli import run

run()

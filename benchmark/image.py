"""python -m benchmark.image: build the real Dockerfile without Docker and weigh the image (as root)."""

import argparse
import logging
import subprocess
import sys
import time
from pathlib import Path

from benchmark.measure import RESULTS
from benchmark.provenance import describe_provenance
from benchmark.running import ROOT
from bidsapp.bids.save import save_json

SCRIPT = ROOT / "container" / "without-docker.sh"

logger = logging.getLogger("benchmark")


def main(arguments: list[str] | None = None) -> int:
    """Build, weigh and keep the result."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.image", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args(arguments)
    provenance = describe_provenance("python -m benchmark.image")
    started = time.monotonic()
    subprocess.run([SCRIPT, "build"], check=True, stdout=subprocess.DEVNULL)
    seconds = round(time.monotonic() - started, 1)
    size = subprocess.run([SCRIPT, "size"], check=True, capture_output=True, text=True)
    image = {"mib": int(size.stdout), "build_seconds": seconds, "n": 1}
    logger.info("%s", image)
    data = "the Dockerfile for processors, on a Debian made by mmdebstrap"
    result = {"case": "container", "sloppy": False, "data": data, "provenance": provenance, "image": image}
    save_json(result, options.results / "container.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())

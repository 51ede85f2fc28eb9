"""python -m benchmark.rounding: how far a result moves when numbers are rounded otherwise.

Every case is aligned again from an affine shifted by a hundred-thousandth of a millimetre: no more than
single precision loses of a coordinate in a head. Some are aligned a third time, from the same affine, by
plain torch, which does every sum in another order: another processor, or a card, differs as much.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from jaxtyping import Float64

from benchmark.cases import CaseSkippedError
from benchmark.gpu_parts import Heads, apart_mm, load_heads
from benchmark.measure import RESULTS
from benchmark.peers.cases import PAIRS
from benchmark.peers.score import dice_mean
from benchmark.provenance import describe_provenance
from benchmark.readme import fill
from benchmark.running import ROOT
from benchmark.summary import load_json
from bidsapp.bids.save import save_json, save_text
from bidsapp.errors import MetsAtlasError
from bidsapp.geometry.kernels import backends, reference
from bidsapp.images.alignment import Alignment
from bidsapp.registration.deformable import align_deformable
from bidsapp.settings import PRESETS, RegistrationSettings

SHIFT_MM = 1e-5
CASES = (*PAIRS, "sub-oasis1000", "sub-oasis1010", "sub-oasis1036")
IN_PLAIN_TORCH = ("oas1", "sub-oasis1010", "sub-oasis1036")
"""Those that plain torch aligns as well, which takes ten minutes each."""
SHIFTED, PLAIN = "start shifted", "plain torch"
PAGE = ROOT / "docs" / "registration.md"
MARKERS = ("<!-- rounding: start -->", "<!-- rounding: end -->")

logger = logging.getLogger("benchmark")


def measure_case(
    heads: Heads, preset: str, settings: RegistrationSettings, against: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Align one case, and again in each way of `against`; distances are those in the fixed brain."""

    def align(start: Float64[np.ndarray, "4 4"]) -> Alignment:
        return align_deformable(*heads.labels, start, settings, images=heads.images)

    one = align(heads.start)
    for way in against:
        if way == PLAIN:
            with patch.object(backends, "on_cpu", return_value=reference):
                other = align(heads.start)
        else:
            shifted = heads.start.copy()
            shifted[:3, 3] += SHIFT_MM
            other = align(shifted)
        apart = apart_mm(heads, one, other)
        p50, p99 = np.percentile(apart, (50, 99))
        yield {
            "case": heads.case.name,
            "preset": preset,
            "against": way,
            "mm_p50": round(float(p50), 5),
            "mm_p99": round(float(p99), 5),
            "mm_max": round(float(apart.max()), 5),
            "dsc_mean": dice_mean(heads.case, one),
            "dsc_mean_other": dice_mean(heads.case, other),
        }


def build_block(found: Mapping[str, Any]) -> str:
    """Write the table as Markdown: medians over cases, and the worst."""
    origin, rows = found["provenance"], found["rows"]
    lines = [
        "<!-- written by python -m benchmark.rounding: change the results, not these lines -->",
        f"{found['data']}. {origin['machine']['class']}; {origin['date']}, commit {origin['commit'][:10]}.",
        "",
        "| preset | against | n | median in the brain, mm | 99th percentile | worst case | Dice differs by |",
        "|---|---|---|---|---|---|---|",
    ]
    for preset, against in dict.fromkeys((row["preset"], row["against"]) for row in rows):
        own = [row for row in rows if (row["preset"], row["against"]) == (preset, against)]
        p50, p99 = ([row[name] for row in own] for name in ("mm_p50", "mm_p99"))
        dice = [abs(row["dsc_mean"] - row["dsc_mean_other"]) for row in own]
        cells = f"{np.median(p50):.4f} | {np.median(p99):.3f} | {max(p99):.3f} | {np.median(dice):.4f}"
        lines.append(f"| `{preset}` | {against} | {len(own)} | {cells} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, keep the result, fill the page, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmark.rounding", description=__doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument(
        "--plain",
        nargs="*",
        default=IN_PLAIN_TORCH,
        metavar="CASE",
        help="those that plain torch aligns, too",
    )
    parser.add_argument("--presets", nargs="+", default=("fast", "default"), choices=tuple(PRESETS))
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON goes")
    options = parser.parse_args(arguments)
    try:
        provenance = describe_provenance("python -m benchmark.rounding")
        rows = []
        for heads in map(load_heads, options.cases):
            against = (SHIFTED, *([PLAIN] if heads.case.name in options.plain else []))
            for preset in options.presets:
                for row in measure_case(heads, preset, RegistrationSettings.preset(preset), against):
                    rows.append(row)
                    logger.info("%s", row)
        rows.sort(key=lambda row: (options.presets.index(row["preset"]), row["against"]))
        data = (
            f"Starts shifted by {SHIFT_MM:g} mm: {', '.join(options.cases)}; sums in another order (plain "
            f"torch): {', '.join(options.plain) or 'none'}; OASIS scans with manual labels"
        )
        path = options.results / "rounding.json"
        save_json({"case": "rounding", "data": data, "provenance": provenance, "rows": rows}, path)
        if options.results.resolve() == RESULTS:
            save_text(fill(PAGE.read_text(), build_block(load_json(path)), MARKERS, PAGE.name), PAGE)
    except CaseSkippedError as reason:
        logger.warning("skipped, %s", reason)
    except MetsAtlasError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear line, no traceback)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())

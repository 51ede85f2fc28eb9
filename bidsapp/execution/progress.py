"""Tell how far a run has come: a bar on a terminal, a line an item elsewhere."""

import logging
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from bidsapp.execution.outcome import Item, Outcome, Value

logger = logging.getLogger(__name__)


def show_progress(
    outcomes: Iterator[Outcome[Item, Value]], total: int, describe: Callable[[Item], str]
) -> Iterator[Outcome[Item, Value]]:
    """Pass outcomes on and say how many are done, failed and left."""
    done = failed = 0
    app = logging.getLogger("bidsapp")
    with (
        logging_redirect_tqdm(loggers=[app]),
        tqdm(total=total, unit="scan", file=sys.stderr, disable=not sys.stderr.isatty()) as bar,
    ):
        for outcome in outcomes:
            failed += outcome.error is not None
            done += outcome.error is None
            left = total - done - failed
            bar.set_postfix(done=done, failed=failed, left=left, refresh=False)
            bar.update()
            verb = "failed" if outcome.error else "done"
            logger.info(
                "%s %s: %d done, %d failed, %d left", describe(outcome.item), verb, done, failed, left
            )
            yield outcome

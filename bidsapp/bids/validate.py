"""Ask the BIDS validator whether a dataset keeps the standard."""

import json
import logging
import os
import shutil
import subprocess  # runs one program of our own environment, with a list of arguments
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bidsapp.errors import MissingInputError, ValidationError

logger = logging.getLogger(__name__)

PROGRAM = "bids-validator-deno"
MAX_SHOWN = 5
WAY_OUT = "or run with --skip-bids-validation"


def validate_dataset(bids_dir: Path) -> None:
    """Refuse a dataset in which the BIDS validator finds errors; warnings are let pass.

    Links whose content was not fetched (git-annex) are no errors here: only wanted files need to be there.

    Parameters
    ----------
    bids_dir
        A raw or derivative dataset; derivatives inside it are not looked at.

    Raises
    ------
    ValidationError
        If there are errors (the first five are named with file and reason), or the validator failed.
    MissingInputError
        If the folder or the validator is not there.

    References
    ----------
    BIDS execution specification: exit status 16 for a dataset that is not valid.
    """
    if not bids_dir.is_dir():
        raise MissingInputError(f"the dataset {bids_dir} does not exist or is no folder: check the path")
    errors = [issue for issue in _run_validator(bids_dir) if not _is_unfetched(bids_dir, issue)]
    if errors:
        shown = "; ".join(_describe(issue) for issue in errors[:MAX_SHOWN])
        more = f"; and {len(errors) - MAX_SHOWN} more" if len(errors) > MAX_SHOWN else ""
        raise ValidationError(
            f"{bids_dir} must be valid BIDS, got {len(errors)} errors: {shown}{more}. Mend them, list files "
            f"outside the standard in .bidsignore, {WAY_OUT}"
        )
    logger.info("%s is valid BIDS", bids_dir)


def _run_validator(bids_dir: Path) -> Sequence[dict[str, str]]:
    """Return the errors as the validator's JSON words them, each with its explanation."""
    with tempfile.TemporaryDirectory(prefix="bids-validator-") as cache:
        finished = subprocess.run(  # noqa: S603 - fixed program, arguments as a list
            [_program(), "--format", "json", "--ignoreWarnings", str(bids_dir.absolute())],
            env={**os.environ, "DENO_DIR": cache, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    try:
        issues = json.loads(finished.stdout)["issues"]
        meanings: dict[str, str] = issues["codeMessages"]
        errors = [
            {"meaning": meanings.get(issue["code"], ""), **issue}
            for issue in issues["issues"]
            if issue["severity"] == "error"
        ]
        return sorted(errors, key=lambda issue: (issue.get("location", ""), issue["code"]))
    except (ValueError, KeyError, TypeError) as error:
        words = " ".join((finished.stderr or finished.stdout).split())[-300:]
        raise ValidationError(
            f"the BIDS validator must answer in JSON, but failed with status {finished.returncode} "
            f"({words}): check that {bids_dir} can be read, {WAY_OUT}"
        ) from error


def _program() -> str:
    """Find the validator beside this Python, else on the path."""
    beside = Path(sys.executable).parent / PROGRAM
    found = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if found is None:
        raise MissingInputError(
            f"the program {PROGRAM} must be installed beside {sys.executable}, got none: "
            f"pip install {PROGRAM}, {WAY_OUT}"
        )
    return found


def _is_unfetched(bids_dir: Path, issue: dict[str, str]) -> bool:
    """Tell whether an error only says that a link leads to nothing."""
    path = bids_dir / issue.get("location", "").lstrip("/")
    return path.is_symlink() and not path.exists()


def _describe(issue: dict[str, str]) -> str:
    """Name file and reason of one error."""
    code = issue["code"] + (f" ({issue['subCode']})" if issue.get("subCode") else "")
    reason = " ".join((issue.get("issueMessage") or issue["meaning"]).split())[:160]
    return f"{issue.get('location') or 'the dataset'}: {code} {reason}".rstrip()

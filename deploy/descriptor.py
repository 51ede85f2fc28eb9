"""python deploy/descriptor.py: write deploy/boutiques.json, the Boutiques description of the command line.

Every option of the parser becomes an input, so the description cannot fall behind.
"""

# ruff: noqa: INP001 - a script, in no package

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

from bidsapp.arguments import build_parser

PLACE = Path(__file__).with_name("boutiques.json")
LEFT_OUT = ("help", "version")
FIRST = ("participant_label", "session_label")
"""Boutiques' form for BIDS Apps wants these two first."""


def describe() -> dict[str, object]:
    """Describe the command line as Boutiques does (schema 0.5)."""
    parser = build_parser()
    options = [each for each in parser._actions if each.option_strings and each.dest not in LEFT_OUT]  # noqa: SLF001
    options.sort(key=lambda option: FIRST.index(option.dest) if option.dest in FIRST else len(FIRST))
    keys = " ".join(_key(name) for name in _names(options))
    return {
        "name": "metsatlas",
        "tool-version": version("metsatlas"),
        "schema-version": "0.5",
        "description": parser.description,
        "command-line": f"mkdir -p [OUTPUT_DIR]; metsatlas [BIDS_DIR] [OUTPUT_DIR] [ANALYSIS_LEVEL] {keys}",
        "container-image": {"type": "docker", "image": f"metsatlas/metsatlas:{version('metsatlas')}"},
        "tags": {"domain": ["neuroinformatics", "BIDS-App"]},
        "inputs": [*_positionals(), *map(_input, options, _names(options))],
        "groups": [
            {
                "id": "one_output",
                "name": "Output folder, there already or new",
                "members": ["output_dir", "output_dir_name"],
                "mutually-exclusive": True,
                "one-is-required": True,
            },
            {
                "id": "one_scheduler",
                "name": "Scheduler",
                "members": ["scheduler", "scheduler_file"],
                "mutually-exclusive": True,
            },
        ],
        "output-files": [
            {
                "id": "derivative_dataset",
                "name": "Derivative dataset",
                "path-template": "[OUTPUT_DIR]",
                "description": "Valid BIDS derivatives, with a page for each scan and one for the group",
            }
        ],
        "error-codes": [
            {"code": code, "description": words}
            for code, words in (
                (1, "Some scans failed, the others are done."),
                (16, "The dataset is not valid BIDS."),
                (17, "The analysis level is unknown."),
                (18, "Labels or filters select nothing."),
                (64, "The command contradicts itself."),
                (65, "The data cannot be used."),
                (66, "A folder, file or participant is not there."),
                (73, "The output cannot be created."),
                (74, "Reading or writing failed."),
                (75, "Something was short for now: try again."),
            )
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 4, "walltime-estimate": 600},
    }


def _positionals() -> list[dict[str, object]]:
    return [
        {"id": "bids_dir", "name": "BIDS dataset", "type": "File", "value-key": "[BIDS_DIR]"},
        *(
            {"id": name, "name": words, "type": kind, "value-key": "[OUTPUT_DIR]", "optional": True}
            for name, words, kind in (
                ("output_dir_name", "Output folder to make", "String"),
                ("output_dir", "Output folder that is there", "File"),
            )
        ),
        {
            "id": "analysis_level",
            "name": "Analysis level",
            "type": "String",
            "value-key": "[ANALYSIS_LEVEL]",
            "value-choices": ["participant", "group"],
            "list": True,
            "min-list-entries": 1,
        },
    ]


def _names(options: list[argparse.Action]) -> list[str]:
    """Name each option by what it sets; those that set the same thing, each by its own flag."""
    every = [option.dest for option in options]
    return [
        name if every.count(name) == 1 else option.option_strings[-1].strip("-").replace("-", "_")
        for name, option in zip(every, options, strict=True)
    ]


def _input(option: argparse.Action, name: str) -> dict[str, object]:
    """Describe one option."""
    flags = sorted(option.option_strings, key=len, reverse=True)
    found: dict[str, object] = {
        "id": name,
        "name": name.replace("_", " "),
        "description": (option.help or "").replace("%%", "%"),
        "type": _type(option),
        "optional": True,
        "command-line-flag": next(flag for flag in flags if "-" in flag.strip("-") or flag == flags[0]),
        "value-key": _key(name),
    }
    if option.choices:
        found["value-choices"] = list(option.choices)
    if option.nargs == "+":
        found["list"] = True
    return found


def _type(option: argparse.Action) -> str:
    if option.nargs == 0:
        return "Flag"
    if option.type is Path:
        return "File"
    return "Number" if isinstance(option.default, int) and not option.choices else "String"


def _key(name: str) -> str:
    return f"[{name.upper()}]"


if __name__ == "__main__":
    PLACE.write_text(json.dumps(describe(), indent=2) + "\n", encoding="utf-8")
    sys.exit(0)

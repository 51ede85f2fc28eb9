"""Outcome: what came of one item, a value or an error."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bidsapp.errors import MetsAtlasError
from bidsapp.execution.stopping import leave_if_asked

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Item, Value]):
    """What came of applying a function to one item.

    Parameters
    ----------
    item
        What the function was applied to.
    value
        What it returned; None when it failed.
    error
        Why it failed; None when it did not. Errors of the app come as they are, any other exception as a
        ``RuntimeError`` that names it, because not every exception can travel between processes.
    traceback
        Where it failed, as Python prints it; empty when it did not.
    """

    item: Item
    value: Value | None = None
    error: Exception | None = None
    traceback: str = ""


def attempt(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Apply `function` to `item` and catch whatever it raises.

    Examples
    --------
    >>> attempt(int, "12").value
    12
    >>> attempt(int, "twelve").error
    RuntimeError("ValueError: invalid literal for int() with base 10: 'twelve'")
    """
    try:
        return Outcome(item, value=function(item))
    except MetsAtlasError as error:
        return Outcome(item, error=error, traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - one item's failure, whatever it is, must not end the others
        leave_if_asked()
        named = RuntimeError(f"{type(error).__name__}: {error}")
        return Outcome(item, error=named, traceback=traceback.format_exc())

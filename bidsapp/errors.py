"""Every error a user can cause, with the exit status it ends the run with.

Statuses follow the BIDS execution specification: 16 input fails validation, 17 unknown analysis level,
18 filters select nothing, 64 usage, 65 bad data, 66 no input, 73 cannot create output, 74 input/output,
75 temporary failure (worth a retry).
"""

from typing import ClassVar


class MetsAtlasError(Exception):
    """Something the user can mend; its text says what must hold, what came and what to do."""

    exit_status: ClassVar[int] = 1


class ValidationError(MetsAtlasError):
    """The input dataset is not valid BIDS."""

    exit_status = 16


class AnalysisLevelError(MetsAtlasError):
    """The analysis level is neither `participant` nor `group`."""

    exit_status = 17


class SelectionError(MetsAtlasError):
    """Labels or filters select no file."""

    exit_status = 18


class UsageError(MetsAtlasError):
    """The command line contradicts itself."""

    exit_status = 64


class DataError(MetsAtlasError):
    """A file is there, but what it holds cannot be used."""

    exit_status = 65


class ShapeError(DataError):
    """An array does not have the shape its space or its partner asks for."""


class MissingInputError(MetsAtlasError):
    """A file, folder or participant that was asked for does not exist."""

    exit_status = 66


class OutputError(MetsAtlasError):
    """The output folder cannot be created or written."""

    exit_status = 73


class ReadWriteError(MetsAtlasError):
    """Reading or writing failed half way."""

    exit_status = 74


class TemporaryError(MetsAtlasError):
    """A resource was short for now: the same command may succeed later."""

    exit_status = 75

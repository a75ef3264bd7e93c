"""Actionable errors: each names what failed, where, why and the remedy, and sets the exit code of the run."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType

__all__ = [
    "BundleError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "StudyError",
    "TrainingError",
    "install_excepthook",
]


class BundleError(Exception):
    """Base of the errors of this package; the command ends with ``exit_code``."""

    exit_code = 1


class ConfigError(BundleError):
    """The command or a config is wrong: a misspelt override, a folder that cannot be written (exit code 2)."""

    exit_code = 2


class DataError(BundleError):
    """An input file or a datalist is wrong (exit code 3).

    Args:
        cause: sentence that says what is wrong.
        remedy: sentence that says what the user can do about it.
        case: id of the case, where one is known.
        file: path of the offending file, if known.
    """

    exit_code = 3

    def __init__(self, cause: str, remedy: str = "", case: object = None, file: object = None) -> None:
        where = [f"case {case}"] if case is not None else []
        where += [str(file)] if file is not None else []
        self.cause, self.remedy, self.case, self.file = cause, remedy, case, file
        super().__init__(": ".join([*where, cause]) + (f". {remedy}" if remedy else ""))


class CheckpointError(BundleError):
    """Weights or a checkpoint cannot be used (exit code 4)."""

    exit_code = 4


class StudyError(BundleError):
    """Some of several studies could not be done, the others are (exit code 6).

    Args:
        message: names them.
        failures: their ids, causes, remedies and files.
    """

    exit_code = 6

    def __init__(self, message: str, failures: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.failures = [dict(failure) for failure in failures]


class TrainingError(BundleError):
    """Training cannot continue, for example because the loss is not finite (exit code 5)."""

    exit_code = 5


# Errors of a disk that is full, over its quota or read-only, or of a file larger than the user may write.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def find_bundle_error(error: BaseException | None) -> BundleError | None:
    """The innermost ``BundleError`` among an exception and its causes; MONAI wraps what a transform raises.

    One that is raised from another says the same with more, such as the case, and stands for it. If there is none, an
    ``OSError`` of a disk that cannot be written becomes one.
    """
    found, disk, seen, said = None, None, set(), False
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        found = error if isinstance(error, BundleError) and not said else found
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and (disk is None or disk.filename is None):
            disk = error  # prefer the one that names its file
        said = isinstance(error, BundleError) and error.__cause__ is not None
        error = error.__cause__ or error.__context__
    if found is None and disk is not None:
        where = disk.filename or "to the disk"
        return ConfigError(f"cannot write {where}: {disk.strerror}. Free some space, or give another --output_dir")
    return found


def install_excepthook() -> None:
    """End a run that met a ``BundleError`` with one line and its exit code instead of MONAI's nested tracebacks.

    ``MONAI_EXT_TRACEBACK=1`` keeps the traceback. Any other exception is shown as usual (exit code 1), and Ctrl-C ends
    with 130.
    """

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        found = find_bundle_error(error)
        if found is not None:  # torch.distributed catches what is written, and would show it when this has returned
            sys.stderr = sys.__stderr__ or sys.stderr
        if found is None or os.environ.get("MONAI_EXT_TRACEBACK") == "1":
            sys.__excepthook__(kind, error, traceback)
        if found is not None:
            print(f"\nerror: {found}", file=sys.stderr)
        if found is not None or isinstance(error, KeyboardInterrupt):
            sys.stdout.flush()
            sys.stderr.flush()
            # An excepthook cannot set the exit status any other way; worker processes of loaders are daemons.
            os._exit(found.exit_code if found is not None else 130)

    sys.excepthook = hook

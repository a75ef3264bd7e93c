"""Published encoders from the command line: ``python -m monai_ext.weights list | show NAME | verify NAME [FILE]``.

Exit codes: 0; 2 the command is wrong; 4 the file cannot be had, read, or is not what its name says.
"""

from __future__ import annotations

from monai_ext.command_line import run_commands
from monai_ext.networks.published import REGISTER, find_file, find_published
from monai_ext.networks.published.verify import verify_published

__all__ = ["list_published", "show", "verify"]


def list_published() -> str:
    """Print every published encoder: name, architecture, licence, what it learned from, and how."""
    rows = [("name", "architecture", "licence", "learned from", "method")]
    rows += [(e.name, e.architecture, e.licence or "not known", e.learned_from, e.method) for e in REGISTER.values()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", "None was tried with its real file here. show NAME gives all that is known of one."])


def show(name: str) -> str:
    """Print all that is known of one published encoder, and what of it nobody has verified.

    Args:
        name: of the list.
    """
    return str(find_published(name))


def verify(name: str, file: str = "") -> str:
    """Say whether a file of weights is read right; takes about a minute.

    Args:
        name: of the list.
        file: on the disk; without it the hub's cache or the hub.
    """
    return verify_published(find_published(name), find_file(file or name))


if __name__ == "__main__":
    run_commands({"list": list_published, "show": show, "verify": verify}, name="python -m monai_ext.weights")

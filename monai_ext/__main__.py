"""All commands by one name: ``monai-ext plan --bundle amlp ...`` is ``python -m monai_ext.plan --bundle amlp ...``."""

from __future__ import annotations

import difflib
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

#: Commands, each a module of the package, and what it does.
COMMANDS = {
    "predict": "segment a file, a folder of scans or a DICOM export",
    "datalist": "write the datalist of a data set",
    "check": "name every problem of a data set at once",
    "plan": "choose the settings for a data set, a device and the minutes that there are",
    "select": "choose which scans to label first",
    "table": "train and evaluate the rows of a table",
    "options": "list what can be set in a bundle",
    "weights": "published encoders: list, verify",
    "derive": "make a bundle of your own from a plan and weights, to serve or share",
    "federated": "train over several sites",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is that of the command, 2 where there is none of the name."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("usage: monai-ext COMMAND [--help | options]\n")
        print("\n".join(f"  {name.ljust(width)}  {text}" for name, text in COMMANDS.items()))
        return 0
    name, *rest = words
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"monai-ext has no command {name!r}; {hint}", file=sys.stderr)
        return 2
    try:
        return subprocess.run([sys.executable, "-m", f"monai_ext.{name}", *rest]).returncode
    except KeyboardInterrupt:  # which reaches the command too
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""The blocks of code on a page, each with its place, and the pages of the repository."""

import re
from dataclasses import dataclass
from pathlib import Path

from lint_repository import find_documents

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """What stands between two fences: ``line`` is the page's line of its first one."""

    page: str
    line: int
    language: str
    text: str

    @property
    def kind(self):
        """``bash`` of commands, whether the fence says so or not."""
        return self.language or "bash"

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def pages():
    """Pages that show a user something to type, by their paths in the repository."""
    return sorted(path.relative_to(ROOT).as_posix() for path in find_documents(ROOT) if read_blocks(path))


def read_blocks(path):
    """The blocks of a page in order; fences may be indented, as in a list."""
    found, lines = [], Path(path).read_text(encoding="utf-8").splitlines()
    name = Path(path).resolve().relative_to(ROOT).as_posix() if ROOT in Path(path).resolve().parents else str(path)
    start = None
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"( *)```(\w*)", line)
        if fence and start is None:
            start, indent, language = number, fence[1], fence[2]
        elif fence and not fence[2]:
            text = "\n".join(each.removeprefix(indent) for each in lines[start : number - 1])
            found.append(Block(name, start + 1, language, text + "\n"))
            start = None
    assert start is None, f"{name}:{start}: a block without an end"
    return found

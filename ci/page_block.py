"""Print the block of a page that holds some words, as it stands: ``python ci/page_block.py PAGE WORDS``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["page_block"]


def page_block(page: str | Path, words: str) -> str:
    """The block.

    Raises:
        ValueError: none holds the words, or several do.
    """
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```$", Path(page).read_text(encoding="utf-8"))
    found = [block for block in blocks if words in block]
    if len(found) != 1:
        raise ValueError(f"{page} has {len(found)} blocks with {words!r}, not one")
    return found[0]


if __name__ == "__main__":
    print(page_block(*sys.argv[1:]), end="")

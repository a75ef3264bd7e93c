"""Which bundle is running, for what names things after it: reports and trackers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["bundle_metadata", "bundle_name", "remember_bundle"]

_root: Path | None = None


def remember_bundle(root: str | Path) -> None:
    """Note the directory of the bundle whose config is evaluated."""
    global _root
    if (Path(root) / "configs/metadata.json").is_file():
        _root = Path(root).resolve()


def bundle_name() -> str:
    """Name of the bundle's directory; empty where no bundle is running."""
    return _root.name if _root else ""


def bundle_metadata() -> dict[str, Any]:
    """The bundle's ``metadata.json``; empty where no bundle is running."""
    return json.loads((_root / "configs/metadata.json").read_text()) if _root else {}

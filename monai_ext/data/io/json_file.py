"""Write JSON files atomically."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ext.data.io.whole_file import whole_file

__all__ = ["plain", "write_json"]


def plain(value: Any) -> Any:
    """What JSON gives back for a value: what is read equals what was written. NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def write_json(content: Any, path: str | Path) -> None:
    """Write JSON atomically; NaN and infinities, which JSON cannot represent, become null."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2) + "\n", encoding="utf-8")

"""Records beside what a phase makes: which settings, data and version made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ext.data.io.json_file import write_json

__all__ = ["read_record", "record_file", "write_record"]


def record_file(product: str | Path) -> Path:
    """The record beside a product: ``models/pretrained.pt`` has ``models/pretrained.record.json``."""
    return Path(product).with_suffix(".record.json")


def write_record(product: str | Path, record: Mapping[str, Any]) -> None:
    """Write what made a product, after the product."""
    write_json(record, record_file(product))


def read_record(product: str | Path) -> dict[str, Any] | None:
    """What made a product; None where nothing readable says it."""
    try:
        return json.loads(record_file(product).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

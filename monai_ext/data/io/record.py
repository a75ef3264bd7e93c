"""Records beside the products of a phase: the settings, data and version that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ext.data.io.json_file import write_json

__all__ = ["read_record", "record_file", "write_record"]


def record_file(product: str | Path) -> Path:
    """Path of a product's record: ``models/pretrained.pt`` has ``models/pretrained.record.json``."""
    return Path(product).with_suffix(".record.json")


def write_record(product: str | Path, record: Mapping[str, Any]) -> None:
    """Write the record of a product, after the product itself."""
    write_json(record, record_file(product))


def read_record(product: str | Path) -> dict[str, Any] | None:
    """Read the record of a product; None if there is no readable one."""
    try:
        return json.loads(record_file(product).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

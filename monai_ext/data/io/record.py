"""Records beside the products of a phase: the settings, data and version that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.io.json_file import write_json

__all__ = [
    "describe_origin",
    "differences",
    "patients_behind",
    "read_record",
    "record_file",
    "some_of",
    "write_record",
]


def record_file(product: str | Path) -> Path:
    """Path of a product's record: ``models/pretrained.pt`` has ``models/pretrained.record.json``."""
    return Path(product).with_suffix(".record.json")


def write_record(product: str | Path, record: Mapping[str, Any]) -> None:
    """Write the record of a product, after the product itself."""
    write_json(record, record_file(product))


def read_record(product: str | Path) -> dict[str, Any] | None:
    """Read the record of a product; None if there is no readable one."""
    try:
        found = json.loads(record_file(product).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two records differ, in words: ``"seed was 0, is 1"``.

    Example:
        >>> differences({"settings": {"seed": 0}}, {"settings": {"seed": 1}})
        ['seed was 0, is 1']
    """
    found = []
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        name = f"{prefix}{key}"
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, "" if name == "settings" else f"{name}#")
        elif name.startswith("data#"):
            what = "is new" if old is None else "is gone" if new is None else "has changed"
            found.append(
                f"case {key} of section {name.split('#')[1]} {what}" if name.count("#") > 1 else f"{name} differs"
            )
        elif name.startswith("inputs#"):
            found.append(f"{key} is another file, or has another content")
        else:
            found.append(f"{name} was {_short(old)}, is {_short(new)}")
    return found


def some_of(found: Sequence[str], most: int = 5) -> str:
    """The first of many differences, and how many more there are."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more


def _short(value: Any) -> str:
    text = "not set" if value is None else json.dumps(value, default=str)
    return text if len(text) < 60 else text[:57] + "..."


def patients_behind(product: str | Path) -> set[str] | None:
    """Patients that taught a file of weights, those behind the weights it started from included; None if unknown."""
    record = read_record(product)
    if record is None or "patients" not in record:
        return None
    return {*record["patients"].get("train", ()), *(p for found in record.get("seen", {}).values() for p in found)}


def describe_origin(product: str | Path) -> str:
    """What a file of weights was trained on, in one line."""
    record = read_record(product)
    if record is None:
        return "there is no record beside it: what it was trained on is unknown"
    settings, taught = record.get("settings", {}), sorted(patients_behind(product) or ())
    named = f" ({', '.join(taught[:5])}{', ...' if len(taught) > 5 else ''})" if taught else ""
    chosen = [f"{key} {settings[key]}" for key in ("seed", "val_fold", "scheme") if key in settings]
    return f"trained on {len(taught)} patients{named}, " + ", ".join([*chosen, f"version {record.get('version')}"])

"""Records beside the products of a phase: the settings, data and version that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ext.data.io.image_files import content_hash
from monai_ext.data.io.json_file import write_json
from monai_ext.errors import CheckpointError

__all__ = [
    "check_product",
    "describe_origin",
    "differences",
    "metrics_behind",
    "patients_behind",
    "read_record",
    "record_file",
    "some_of",
    "write_record",
]

SHA256, METRICS = "sha256", "metrics"  # of the product, in its record; they do not make it


def record_file(product: str | Path) -> Path:
    """Path of a product's record: ``a.pt`` has ``a.record.json``, ``p1_seg.nii.gz`` has ``p1_seg.record.json``."""
    return Path(str(product).removesuffix(".gz")).with_suffix(".record.json")


def write_record(product: str | Path, record: Mapping[str, Any], metrics: Mapping[str, float] | None = None) -> None:
    """Write the record of a product, after the product itself, with its SHA-256 and what was measured with it."""
    path = Path(product)
    content: dict[str, Any] = {SHA256: content_hash(path)} if path.is_file() else {}
    content |= {METRICS: dict(metrics)} if metrics else {}
    write_json({**record, **content}, record_file(product))


def check_product(product: str | Path) -> None:
    """Refuse a product whose content is not what its record says; one without a record is taken as it is.

    Raises:
        CheckpointError: names the product.
    """
    wanted = (_read(product) or {}).get(SHA256)
    if wanted is not None and content_hash(product) != wanted:
        raise CheckpointError(
            f"{product}: its content is not what {record_file(product).name} says: it was damaged or exchanged. Copy "
            "or make it again; if that is meant, remove that record"
        )


def read_record(product: str | Path) -> dict[str, Any] | None:
    """Read what made a product; None if there is no readable record."""
    found = _read(product)
    return None if found is None else {key: value for key, value in found.items() if key not in (SHA256, METRICS)}


def _read(product: str | Path) -> dict[str, Any] | None:
    try:
        found = json.loads(record_file(product).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two records differ, in words: ``"seed was 0, is 1"``.

    Example:
        >>> from monai_ext.data.io.record import differences
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
    own = (patient for role in ("train", "unlabelled") for patient in record["patients"].get(role, ()))
    return {*own, *(p for found in record.get("seen", {}).values() for p in found)}


def metrics_behind(product: str | Path) -> dict[str, float]:
    """What the run that made a file of weights measured at its end; nothing if that is unknown."""
    found = (_read(product) or {}).get(METRICS, {})
    return found if isinstance(found, dict) else {}


def describe_origin(product: str | Path) -> str:
    """What a file of weights was trained on, in one line."""
    record = read_record(product)
    if record is None:
        return "there is no record beside it: what it was trained on is unknown"
    settings, taught = record.get("settings", {}), sorted(patients_behind(product) or ())
    named = f" ({', '.join(taught[:5])}{', ...' if len(taught) > 5 else ''})" if taught else ""
    chosen = [f"{key} {settings[key]}" for key in ("seed", "val_fold", "scheme") if key in settings]
    return f"trained on {len(taught)} patients{named}, " + ", ".join([*chosen, f"version {record.get('version')}"])

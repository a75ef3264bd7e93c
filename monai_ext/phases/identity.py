"""What made a product: the settings that matter, the data, the version. Reusing a product compares it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

import monai_ext
from monai_ext.data.entries import files_of, read_datalist

__all__ = ["describe_data", "differences", "file_print", "identify", "settings_of"]

# What does not change a product: where it is made and kept, and on what.
INDIFFERENT = frozenset(
    [
        *("imports", "phases", "product", "wanted", "repeat", "bundle_root", "device", "dataset_dir", "datalist"),
        *("run_dir", "output_dir", "cache_dir", "maps_dir", "model", "pretrained", "weights", "gland_weights"),
        *("generators", "resume", "num_workers", "initialize", "finalize", "run"),
    ]
)
BLOCK = 65536


def file_print(path: str | Path) -> str:
    """Size and content of a file in a few bytes: its length and a hash of its first and last 64 KiB.

    The end of a gzip file holds the checksum of all that it contains. A copy of a file has the file's own print.

    Raises:
        OSError: the file cannot be read.
    """
    size = os.path.getsize(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(BLOCK))
        file.seek(max(0, size - BLOCK))
        digest.update(file.read(BLOCK))
    return f"{size}:{digest.hexdigest()[:16]}"


def _path_print(path: Path) -> str:
    if path.is_dir():  # a DICOM series
        files = sorted(file for file in path.iterdir() if file.is_file())
        return hashlib.sha256("".join(file_print(file) for file in files).encode()).hexdigest()[:16]
    print_ = file_print(path)
    raw = path.with_suffix(".raw")
    return print_ + ("+" + file_print(raw) if path.suffix == ".mhd" and raw.is_file() else "")


def describe_data(datalist: str | Path, dataset_dir: str | Path) -> dict[str, Any]:
    """A datalist's cases by section, and a print of each of their files.

    Returns:
        ``{"training": {id: print, ...}, ...}``; a missing file has the print ``missing``.
    """
    found: dict[str, Any] = {}
    for section, items in read_datalist(str(datalist)).items():
        found[section] = {}
        for number, item in enumerate(items):
            files = [Path(dataset_dir) / path for paths in files_of(item).values() for path in paths]
            prints = [_path_print(path) if path.exists() else "missing" for path in files]
            content = json.dumps([item, prints], sort_keys=True, default=str)
            found[section][str(item.get("id", number))] = hashlib.sha256(content.encode()).hexdigest()[:16]
    return found


def _text(value: Any) -> Any:
    """A setting as JSON has it; an object by its type."""
    if isinstance(value, Mapping):
        return {str(key): _text(part) for key, part in value.items() if str(key)[:6] != "_desc_"}
    if isinstance(value, list | tuple):
        return [_text(part) for part in value]
    return (
        value
        if isinstance(value, str | int | float | bool | None)
        else f"{type(value).__module__}.{type(value).__name__}"
    )


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a phase that change what it makes, as they are written."""
    names = [n for n in config if n[:1] != "_" and n not in INDIFFERENT | set(config.get("phases", ()))]
    return {name: _text(config[name]) for name in names}


def identify(parser: ConfigParser) -> dict[str, Any]:
    """What makes the product of a phase, read off its config before it runs.

    Args:
        parser: the phase's config with all overlays and settings.

    Returns:
        ``{"version", "settings": {name: value as written}, "data": {section: {id: print}}}``.
    """
    config: Mapping[str, Any] = parser.get()
    record: dict[str, Any] = {"version": monai_ext.__version__, "settings": settings_of(config)}
    if "datalist" in config and "dataset_dir" in config:
        where = [parser.get_parsed_content(key) for key in ("datalist", "dataset_dir")]
        if isinstance(where[0], str) and os.path.isfile(where[0]):
            record["data"] = describe_data(*where)
    return record


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
        else:
            found.append(f"{name} was {_short(old)}, is {_short(new)}")
    return found


def _short(value: Any) -> str:
    text = "not set" if value is None else json.dumps(value, default=str)
    return text if len(text) < 60 else text[:57] + "..."

"""What made a product: the settings that matter, the data, the version. Reusing a product compares it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

import monai_ext
from monai_ext.data.entries import files_of, read_datalist
from monai_ext.data.io.image_files import file_print, image_print
from monai_ext.data.io.record import patients_behind
from monai_ext.networks import is_null
from monai_ext.networks.published import is_named

__all__ = ["PLACES", "describe_data", "identify", "inputs_of", "own_places", "settings_of"]

# Settings that name what a phase makes: weights of other networks, or a folder of them or of maps.
PLACES = frozenset(
    ("pretrained", "weights", "generators", "maps_dir", "gland_weights", "model", "ensemble", "supervised")
)
# Weights that a network starts from, or is judged with: whose patients must not be those it is judged on.
STARTED_FROM = ("pretrained", "supervised", "model", "ensemble")
# What does not change a product: where it is made and kept, and on what. Data and inputs are compared by content.
INDIFFERENT = PLACES | frozenset(
    [
        *("imports", "phases", "later", "product", "wanted", "repeat", "bundle_root", "device", "run_dir"),
        *("output_dir", "cache_dir", "resume", "num_workers", "save_interval", "initialize", "finalize", "run"),
        "semi_supervised",
    ]
)


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
            prints = [image_print(path) if path.exists() else "missing" for path in files]
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


def _references(text: Any) -> list[str]:
    return re.findall(r"@(\w+)", text) if isinstance(text, str) else []


def own_places(written: Mapping[str, Any]) -> frozenset[str]:
    """Settings of a phase that name its product: what ``product`` refers to, directly or not."""
    wanted, seen = _references(written.get("product")), set[str]()
    while wanted:
        key = wanted.pop()
        if key not in seen and key in written:
            seen.add(key)
            wanted += _references(written[key])
    return PLACES & seen


def _content_print(path: Path) -> str:
    """Print of a file, or of the weights and the provenances of maps in a folder."""
    if not path.is_dir():
        return file_print(path)
    files = sorted((*path.rglob("*.pt"), *path.rglob("*.provenance.json")))
    described = [f"{file.relative_to(path)} {file_print(file)}" for file in files]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:16] if files else "nothing"


def inputs_of(parser: ConfigParser) -> dict[str, list[str]]:
    """Files and folders that a phase takes from others, by setting; names of published weights stand for themselves.

    What is null, or not there, is none.
    """
    config: Mapping[str, Any] = parser.get()
    found = {}
    for key in sorted(PLACES & config.keys() - own_places(config)):
        value = parser.get_parsed_content(key)
        paths = [str(path) for path in (value if isinstance(value, list | tuple) else [value]) if not is_null(path)]
        if paths := [path for path in paths if is_named(path) or os.path.exists(path)]:
            found[key] = paths
    return found


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a phase that change what it makes, as they are written."""
    others = INDIFFERENT | {*config.get("phases", ()), *config.get("later", ())}
    names = [n for n in config if n[:1] != "_" and n not in others and not n.endswith(("datalist", "dataset_dir"))]
    return {name: _text(config[name]) for name in names}


def identify(parser: ConfigParser) -> dict[str, Any]:
    """What makes the product of a phase, read off its config before it runs.

    Args:
        parser: the phase's config with all overlays and settings.

    Returns:
        ``{"version", "settings": {name: value as written}, "data": {section: {id: print}}, "inputs": {name: prints},
        "seen": {name: patients}}``: the inputs are what earlier phases made; ``seen`` tells which patients the weights
        among them have learned from, where their records tell.
    """
    config: Mapping[str, Any] = parser.get()
    record: dict[str, Any] = {"version": monai_ext.__version__, "settings": settings_of(config)}
    for key in sorted(key for key in config if key.endswith("datalist") and "product" in config):
        folder = f"{key.removesuffix('datalist')}dataset_dir"
        where = [parser.get_parsed_content(name) for name in (key, folder) if name in config]
        if len(where) == 2 and isinstance(where[0], str) and os.path.isfile(where[0]):
            record.setdefault("data", {}).update(
                {f"{key.removesuffix('datalist')}{name}": cases for name, cases in describe_data(*where).items()}
            )
    inputs = inputs_of(parser)
    record["inputs"] = {
        key: [path if is_named(path) else _content_print(Path(path)) for path in paths] for key, paths in inputs.items()
    }
    taught = {key: [patients_behind(path) for path in inputs[key]] for key in STARTED_FROM if key in inputs}
    record["seen"] = {key: sorted(set[str]().union(*filter(None, found))) for key, found in taught.items()}
    return record

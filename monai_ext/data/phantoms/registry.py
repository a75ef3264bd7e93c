"""Small synthetic data sets, generated once into the user's cache, so that every pipeline runs without a download."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_ext.errors import ConfigError

__all__ = ["cache_root", "phantom", "phantom_names", "register_phantom"]

logger = logging.getLogger(__name__)

Datalist = dict[str, list[dict[str, Any]]]
Generate = Callable[..., Datalist]

_REGISTRY: dict[str, tuple[Generate, int]] = {}
_MANIFEST = "manifest.json"
_ABANDONED_AFTER = 24 * 3600  # seconds after which a half-written set belongs to a process that was killed


def register_phantom(name: str, version: int = 1) -> Callable[[Generate], Generate]:
    """Register ``generate(directory, **parameters) -> datalist`` as the phantom called ``name``.

    ``generate`` writes its images under ``directory`` and returns the datalist with paths relative to it; every
    parameter has a default and can be written as JSON. Raise ``version`` whenever the images change, so that no stale
    set is served from a cache.
    """

    def register(generate: Generate) -> Generate:
        if name in _REGISTRY:
            raise ValueError(f"phantom {name!r} is registered twice")
        _REGISTRY[name] = generate, version
        return generate

    return register


def phantom_names() -> list[str]:
    """Names that :func:`phantom` knows."""
    return sorted(_REGISTRY)


def cache_root() -> Path:
    """Folder of the phantoms: ``phantoms`` in $MONAI_EXT_CACHE, $XDG_CACHE_HOME/monai_ext or ~/.cache/monai_ext."""
    if cache := os.environ.get("MONAI_EXT_CACHE"):
        return Path(cache).expanduser() / "phantoms"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai_ext" / "phantoms"


def phantom(name: str, **parameters: Any) -> str:
    """Directory of a synthetic data set, generated on first use: NIfTI images and ``datalist.json``.

    The directory is named after a hash of the parameters and the version of the generator. The set is written beside it
    and renamed when complete, so a later run never takes an interrupted set for complete, and two processes may request
    the same set at once. A cached set with a missing or truncated file is generated again.

    Args:
        name: one of :func:`phantom_names`.
        parameters: parameters of the generator, for example ``num_training`` and ``seed``.

    Raises:
        ValueError: unknown name or parameter.
        ConfigError: the cache directory cannot be written.
    """
    if name not in _REGISTRY:
        raise ValueError(f"unknown phantom {name!r}; known are {', '.join(phantom_names())}")
    generate, version = _REGISTRY[name]
    allowed = list(inspect.signature(generate).parameters.values())[1:]  # the first is the directory
    if unknown := sorted(set(parameters) - {p.name for p in allowed}):
        raise ValueError(f"phantom {name!r} has no parameter {unknown}; it has {[p.name for p in allowed]}")
    complete = {p.name: p.default for p in allowed} | parameters
    key = json.dumps({"name": name, "version": version, **complete}, sort_keys=True)
    directory = cache_root() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    try:
        if not _is_whole(directory):
            logger.info("Generating the phantom %r in %s (once)", name, directory)
            _generate_into(directory, generate, complete)
    except OSError as error:
        raise ConfigError(
            f"cannot write the phantom {name!r} to {directory}: {error}. Set MONAI_EXT_CACHE to a writable directory"
        ) from error
    logger.warning("Using SYNTHETIC %s images from %s: for running and testing only, not data", name, directory)
    return str(directory)


def _generate_into(directory: Path, generate: Generate, parameters: dict[str, Any]) -> None:
    """Write the set to a sibling folder and rename it; if another process was faster, keep its set."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(directory)
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        datalist = generate(temporary, **parameters)
        (temporary / "datalist.json").write_text(json.dumps(datalist, indent=1) + "\n", encoding="utf-8")
        files = {p.relative_to(temporary).as_posix(): p.stat().st_size for p in sorted(temporary.rglob("*.*"))}
        manifest = {"parameters": parameters, "files": files, "synthetic": True}
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if directory.exists() and not _is_whole(directory):
            damaged = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
            os.replace(directory, damaged)
            shutil.rmtree(damaged, ignore_errors=True)
        try:
            os.replace(temporary, directory)
        except OSError:
            if not _is_whole(directory):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_whole(directory: Path) -> bool:
    """Whether every file of the set exists with its size; the manifest is written last."""
    try:
        files = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((directory / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _remove_abandoned(directory: Path) -> None:
    """Remove the unfinished files that a killed process left of this set."""
    for path in directory.parent.glob(f".{directory.name}.*"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # another process removed it first

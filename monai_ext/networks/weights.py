"""Weights on disk: written whole or not at all, read only as tensors, and never half-matched in silence."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from monai_ext.data.io.record import check_product, record_file
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import CheckpointError, ConfigError

__all__ = ["WeightReport", "check_can_write", "is_null", "load_weights", "read_checkpoint", "save_atomically"]

logger = logging.getLogger(__name__)


def is_null(path: object) -> bool:
    """Whether a path from the command line means None: ``null`` and ``None`` arrive as strings."""
    return path is None or str(path).lower() in ("", "null", "none")


@dataclass
class WeightReport:
    """What :func:`load_weights` did: names of parameters and buffers."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]

    def __str__(self) -> str:
        def names(keys: list[str]) -> str:
            return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else "0"

        return f"matched {len(self.matched)}, missing {names(self.missing)}, unexpected {names(self.unexpected)}"


def check_can_write(path: str | Path) -> None:
    """Check that a file can be written to the folder of ``path``, so that a long training does not end in an error.

    Raises:
        ConfigError: the file cannot be written.
    """
    folder = Path(path).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}. Give a path that can be written") from error


def save_atomically(content: Any, path: str | Path, previous: str | Path | None = None) -> None:
    """``torch.save`` by :func:`whole_file`: a full disk or a kill leaves the old file. A record of the old file goes.

    Args:
        content: content of the file.
        path: path of the file.
        previous: the old file is kept under this name, once the new one is complete.

    Raises:
        CheckpointError: when the file cannot be written.
    """
    path = Path(path)
    try:
        with whole_file(path) as temporary:
            with open(temporary, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            record_file(path).unlink(missing_ok=True)  # which is of the old file; a new one comes when the run ends
            if previous is not None and path.is_file():
                os.replace(path, previous)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
        raise CheckpointError(f"cannot write {path}: {error}. The previous file, if any, is untouched") from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, tensors and plain values only; pickled code is never run.

    A file that ends with ``.safetensors`` is read as such, any other as torch writes it.

    Raises:
        CheckpointError: when the file is missing, damaged, or holds anything but tensors and plain values.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file. Train the phase that writes it, or give another path")
    if Path(path).suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path}: not a safetensors file that can be read ({error}). Download it again"
            ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: not a checkpoint that can be read safely ({reason}). The file is damaged, or it holds pickled "
            "objects, which are never loaded; save a plain state dict"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def load_weights(
    network: nn.Module, path: str | Path, part: str = "", min_share: float = 1.0, source_part: str = ""
) -> WeightReport:
    """Load weights by name and shape, report the matches, and raise when too few parameters match.

    The checkpoint is a state dict, as it is or under ``model``, ``state_dict`` or ``network``. If none of its names
    begins with ``part``, they are taken as names within the part, as in an encoder that was saved alone or a ViT in
    timm's or MAE's naming.

    Args:
        network: network that receives the weights in place; it may be wrapped for several devices.
        path: the checkpoint.
        part: prefix of the wanted parameters: only names that begin with ``part.`` are loaded; empty loads all.
        min_share: smallest share of the wanted parameters that must match.
        source_part: name of the network within the checkpoint, for example ``backbone``. If some names begin with
            ``source_part.``, only these are read, without that prefix.

    Returns:
        The report, which is logged too.

    Raises:
        CheckpointError: when the file cannot be read, is not the one that its record describes, or less than
            ``min_share`` matches.
    """
    network = getattr(network, "module", network)
    source: dict[str, Any] = read_checkpoint(path)
    check_product(path)
    for key in ("model", "state_dict", "network"):
        source = source[key] if isinstance(source.get(key), dict) else source
    source = {name.removeprefix("module."): value for name, value in source.items()}  # saved from several devices
    if source_part and any(name.startswith(f"{source_part}.") for name in source):
        source = {n.removeprefix(f"{source_part}."): v for n, v in source.items() if n.startswith(f"{source_part}.")}
    prefix = f"{part}." if part else ""
    if prefix and not any(name.startswith(prefix) for name in source):
        source = {prefix + name: value for name, value in source.items()}
    target = {name: value for name, value in network.state_dict().items() if name.startswith(prefix)}
    matched = {
        name: source[name]
        for name, value in target.items()
        if isinstance(source.get(name), Tensor) and source[name].shape == value.shape
    }
    report = WeightReport(list(matched), sorted(target.keys() - matched), sorted(source.keys() - matched))
    if len(matched) < min_share * len(target) or not matched:
        wrong = [
            f"{name} {tuple(source[name].shape)} for {tuple(target[name].shape)}"
            for name in report.missing
            if isinstance(source.get(name), Tensor)
        ]
        raise CheckpointError(
            f"{path}: only {len(matched)} of {len(target)} parameters of the network"
            f"{f' under {prefix}' if prefix else ''} match; {report}"
            + (f"; other shapes: {', '.join(wrong[:3])}" if wrong else "")
            + ". Use weights of the same architecture"
        )
    network.load_state_dict(matched, strict=False)
    logger.info("%s: %s", path, report)
    return report

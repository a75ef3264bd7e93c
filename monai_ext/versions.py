"""Versions of the software that a result depends on."""

from __future__ import annotations

import platform

import ignite
import monai
import numpy as np
import torch

import monai_ext

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Versions of the software that decides a result."""
    packages = (monai_ext, monai, torch, ignite, np)
    return {"python": platform.python_version()} | {package.__name__: str(package.__version__) for package in packages}

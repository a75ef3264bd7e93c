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
    found = {"python": platform.python_version(), "monai_ext": monai_ext.__version__, "monai": monai.__version__}
    return found | {"torch": str(torch.__version__), "ignite": ignite.__version__, "numpy": np.__version__}

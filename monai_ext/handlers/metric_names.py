"""The names of metrics, for people."""

from __future__ import annotations

import re

__all__ = ["higher_is_worse", "metric_label"]

WORDS = {
    "ap": "AP",
    "auroc": "AUROC",
    "dice": "Dice",
    "fnv": "false negative volume",
    "fpv": "false positive volume",
    "hausdorff95": "Hausdorff distance (95 %)",
    "iou": "IoU",
    "lr": "learning rate",
    "n": "number of",
    "nsd": "normalized surface Dice",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "suv": "SUV",
    "tlg": "TLG",
    "val": "validation",
}
UNITS = ("mm", "ml")


def metric_label(name: str) -> str:
    """A metric's name in words, with its unit.

    Example:
        >>> from monai_ext.handlers.metric_names import metric_label
        >>> metric_label("fpv_ml"), metric_label("val_dice"), metric_label("dice_left kidney")
        ('false positive volume, ml', 'validation Dice', 'Dice left kidney')
    """
    *words, last = re.split("[_ ]", name)
    unit = f", {last}" if words and last in UNITS else ""
    return " ".join(WORDS.get(word, word) for word in (words if unit else [*words, last])) + unit


def higher_is_worse(name: str) -> bool:
    """Whether a metric counts errors: a distance, a volume of errors, a loss.

    Example:
        >>> from monai_ext.handlers.metric_names import higher_is_worse
        >>> higher_is_worse("hausdorff95_mm"), higher_is_worse("dice")
        (True, False)
    """
    return name.endswith(UNITS) or "loss" in name

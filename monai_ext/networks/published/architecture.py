"""Architectures by name, told from the names and shapes of the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from monai_ext.networks.nets.residual_encoder_unet import RESENC_L
from monai_ext.networks.nets.stunet import STUNET_SIZES

__all__ = ["Architecture", "find_architecture"]

# A tensor that only this architecture has. Names of the weights are facts of: nnssl's Primus, MONAI's SwinUNETR,
# dynamic-network-architectures' PlainConvUNet, and this package's XLSTMUNet.
MARKS = {
    r"(^|\.)eva\.": "Primus",
    r"(^|\.)swinViT\.": "SwinUNETR",
    r"^encoder\.stages\.0\.0\.convs\.": "PlainConvUNet",
    r"^encoder\.stem\.0\.conv1\.": "XLSTMUNet",
}
BLOCK = re.compile(r"encoder\.stages\.(\d+)\.(blocks\.)?(\d+)\.conv1\.(?:conv\.)?weight")


@dataclass(frozen=True)
class Architecture:
    """Family, and for ResEnc and STU-Net the width and the number of blocks of every stage of the encoder."""

    family: str
    widths: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.family == "ResEnc" and (self.widths, self.blocks) == RESENC_L:
            return "ResEnc-L"
        if self.family == "STU-Net":
            for size, (base, depth) in STUNET_SIZES.items():
                if self.widths[:1] == (base,) and set(self.blocks) == {depth}:
                    return f"STU-Net-{size}"
        sizes = f" with stages of width {self.widths} and {self.blocks} blocks" if self.widths else ""
        return f"{self.family}{sizes}"

    def fits(self, other: Architecture) -> bool:
        """Whether weights of one are weights of the other.

        STU-Nets may differ in the number of stages, as its masked pretraining leaves the last one out.
        """
        stages = min(len(self.widths), len(other.widths)) if self.family == "STU-Net" else None
        cut = [(a.family, a.widths[:stages], a.blocks[:stages]) for a in (self, other)]
        return cut[0] == cut[1]


def find_architecture(state: Mapping[str, Tensor]) -> Architecture:
    """The architecture of weights under this package's names (``encoder.stages...``); family ``unknown`` if none."""
    for mark, family in MARKS.items():
        if any(re.search(mark, name) for name in state):
            return Architecture(family)
    found = {match: value for name, value in state.items() if (match := BLOCK.fullmatch(name))}
    if not found:
        return Architecture("unknown")
    stages = sorted({int(match[1]) for match in found})
    blocks = tuple(sum(int(match[1]) == stage for match in found) for stage in stages)
    widths = tuple(next(v.shape[0] for match, v in found.items() if int(match[1]) == stage) for stage in stages)
    return Architecture("ResEnc" if next(iter(found))[2] else "STU-Net", widths, blocks)

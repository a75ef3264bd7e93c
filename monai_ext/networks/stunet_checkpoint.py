"""Weights of the published STU-Net checkpoints for this package's STUNet, and for images of several channels.

python -m monai_ext.networks.stunet_checkpoint base_ep4k.model stunet_b.pt --in-channels 2

It takes this package's own weights too, to give them more input channels.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_ext.errors import CheckpointError
from monai_ext.networks.weights import read_checkpoint, save_atomically

__all__ = ["adapt_input_channels", "convert_official_stunet", "read_with_curves"]

RENAMES = (
    (r"^conv_blocks_context\.(\d+)\.(\d+)\.", r"encoder.stages.\1.\2."),
    (r"^conv_blocks_localization\.(\d+)\.(\d+)\.", r"stages.\1.\2."),
    (r"^upsample_layers\.(\d+)\.", r"upsamples.\1."),
    (r"^seg_outputs\.(\d+)\.", r"heads.\1."),
    (r"\.conv3\.", ".skip."),
)


def convert_official_stunet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a published STU-Net (``conv_blocks_context...``) to those of :class:`STUNet`.

    Args:
        state: a state dict with the published names, possibly with ``module.`` before them.

    Returns:
        The same tensors under our names: 130, 130, 218 and 306 of them for S, B, L and H.

    Raises:
        CheckpointError: when a name is not one of STU-Net's.
    """
    converted = {}
    for name, value in state.items():
        new = name.removeprefix("module.")
        for pattern, replacement in RENAMES:
            new = re.sub(pattern, replacement, new)
        if not re.match(r"(encoder\.stages|stages|upsamples|heads)\.\d", new):
            raise CheckpointError(f"{name} is no parameter of a published STU-Net")
        converted[new] = value
    return converted


def adapt_input_channels(state: Mapping[str, Tensor], in_channels: int) -> dict[str, Tensor]:
    """Repeat the first convolutions for more input channels, scaled so that equal channels give the old features.

    Args:
        state: state dict of a :class:`STUNet` or :class:`MaskedSTUNet`; only the encoder's input is changed.
        in_channels: channels of the new input, a multiple of the old ones.

    Returns:
        A new state dict.

    Raises:
        CheckpointError: when there is no such convolution, or ``in_channels`` is no multiple of its channels.
    """
    adapted = dict(state)
    for name in ("encoder.stages.0.0.conv1.weight", "encoder.stages.0.0.skip.weight"):
        if name not in adapted:
            raise CheckpointError(f"no {name}: these are not the weights of an STU-Net")
        weight = adapted[name]
        times, rest = divmod(in_channels, weight.shape[1])
        if rest or not times:
            raise CheckpointError(f"weights for {weight.shape[1]} channels cannot be repeated to {in_channels}")
        adapted[name] = weight.repeat(1, times, 1, 1, 1) / times
    return adapted


def read_with_curves(path: str | Path) -> dict[str, Any]:
    """:func:`read_checkpoint` for nnU-Net, which keeps training curves beside the weights: NumPy numbers, harmless."""
    scalar: Any = np.float64().__reduce__()[0]  # at one place in NumPy 1, at another in NumPy 2
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")]
    places = [(scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")]
    with torch.serialization.safe_globals([np.dtype, *kinds, *places]):
        return read_checkpoint(path)


def main() -> None:
    """Convert a file."""
    parser = argparse.ArgumentParser(description="Convert a published STU-Net checkpoint.")
    parser.add_argument("source", type=Path, help="checkpoint of nnU-Net, version 1 or 2")
    parser.add_argument("target", type=Path, help="plain state dict for STUNet")
    parser.add_argument("--in-channels", type=int, default=1)
    args = parser.parse_args()
    content = read_with_curves(args.source)
    state = next((content[key] for key in ("state_dict", "network_weights") if key in content), content)
    ours = any(name.startswith("encoder.stages.") for name in state)
    state = dict(state) if ours else convert_official_stunet(state)
    save_atomically(adapt_input_channels(state, args.in_channels), args.target)


if __name__ == "__main__":
    main()

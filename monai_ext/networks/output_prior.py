"""Output layers that begin with the share of foreground that there is, not with as much of every class."""

from __future__ import annotations

import math

import torch
from torch import nn

from monai_ext.errors import ConfigError

__all__ = ["set_output_prior"]

KERNELS = 0.1  # of their size before, so that the prior is what the network gives
NAMES = ("head", "heads", "seg_layers")  # of output layers; the last is nnU-Net's name


@torch.no_grad()
def set_output_prior(network: nn.Module, share: float) -> None:
    """Set the output layers so that an untrained network takes few voxels for foreground.

    With biases of zero every class has the same probability at first. Where lesions are one voxel in a thousand, all
    weights then move towards background in the first steps; Adam, whose steps do not shrink with the gradient, can go
    so far that no lesion is found any more. Source: Lin et al., Focal loss for dense object detection, ICCV 2017,
    section 4.1 (a share of 0.01, small kernels); here the kernels are a tenth of what they were.

    Args:
        network: whose output layers, named ``head``, ``heads`` or ``seg_layers``, give a score for each class,
            background first; or an ensemble of such networks.
        share: probability of all foreground classes together, in (0, 1).

    Raises:
        ConfigError: the share is none, or the network has no such layer with a bias.

    Example:
        >>> from monai_ext.networks.nets import UNet
        >>> network = UNet(in_channels=1, out_channels=3, features=(4, 8))
        >>> set_output_prior(network, 0.02)
        >>> network.head.bias.detach().softmax(0)
        tensor([0.9800, 0.0100, 0.0100])
    """
    if not 0 < share < 1:
        raise ConfigError(f"prior must be a share of the voxels above 0 and below 1, got {share}")
    layers = [
        (module, module.bias)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
        and module.bias is not None
        and not {*NAMES}.isdisjoint(name.split("."))
    ]
    if not layers:
        raise ConfigError(
            f"prior cannot be set: {type(network).__name__} has no output layer with a bias under a name of "
            f"{', '.join(NAMES)}. Give --prior null"
        )
    for layer, bias in layers:
        layer.weight.mul_(KERNELS)
        bias.fill_(math.log(share / (len(bias) - 1)))
        bias[0] = math.log(1 - share)

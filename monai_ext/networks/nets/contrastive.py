"""SimCLR, BYOL and SwAV around any encoder that returns its features level by level."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from monai.losses import ContrastiveLoss
from torch import Tensor, nn

from monai_ext.losses.contrastive import byol_loss, swav_loss

__all__ = ["BYOL", "ContrastiveNetwork", "SimCLR", "SwAV"]


def mlp(in_features: int, hidden: int, out_features: int, norm: bool = True) -> nn.Sequential:
    """Linear, batch norm if asked for, ReLU, linear: the heads of all three methods."""
    middle = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(
        nn.Linear(in_features, hidden, bias=not norm), *middle, nn.ReLU(inplace=True), nn.Linear(hidden, out_features)
    )


class ContrastiveNetwork(nn.Module):
    """Encoder, global mean of its coarsest features, and a projection.

    The encoder's weights are named ``backbone.body.encoder``, as those of a U-Net in :class:`MaskedImageModel`.

    Args:
        encoder: encoder that maps ``[B, C, *spatial]`` to a list of features, the coarsest last.
        features: channels of the coarsest features.
        hidden: width of the heads' hidden layer.
        out_features: length of a projection.
        norm: True puts batch norm into the heads.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import ContrastiveNetwork, UNetEncoder
        >>> network = ContrastiveNetwork(UNetEncoder(1, (4, 8)), features=8, hidden=16, out_features=6)
        >>> network.embed(torch.rand(2, 1, 16, 16)).shape
        torch.Size([2, 6])
    """

    def __init__(
        self, encoder: nn.Module, features: int = 1024, hidden: int = 1024, out_features: int = 128, norm: bool = True
    ) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"body": nn.ModuleDict({"encoder": encoder})})
        self.projection = mlp(features, hidden, out_features, norm)

    def embed(self, view: Tensor) -> Tensor:
        """``[B, C, *spatial]`` -> projection ``[B, out_features]``."""
        encoder = self.backbone["body"]["encoder"]  # type: ignore[index]
        return self.projection(encoder(view)[-1].flatten(2).mean(2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of two views ``[B, C, *spatial]`` of the same images: a scalar."""
        raise NotImplementedError

    def advance(self, progress: float) -> None:
        """Called after each update with the ``progress`` of the training in [0, 1]."""


class SimCLR(ContrastiveNetwork):
    """Attract the two views of an image and repel all others (Chen et al. 2020). The head has no norm, as in version 1.

    Args:
        temperature: temperature of MONAI's ``ContrastiveLoss``, the NT-Xent of the paper.
        Others as in :class:`ContrastiveNetwork`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import SimCLR, UNetEncoder
        >>> network = SimCLR(UNetEncoder(1, (4, 8)), features=8, hidden=16, out_features=6)
        >>> first, second = torch.rand(2, 4, 1, 16, 16)  # two views of four images
        >>> network(first, second).shape
        torch.Size([])
    """

    def __init__(
        self,
        encoder: nn.Module,
        features: int = 1024,
        hidden: int = 1024,
        out_features: int = 128,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(encoder, features, hidden, out_features, norm=False)
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of two views, see :class:`ContrastiveNetwork`."""
        return ContrastiveLoss(self.temperature)(self.embed(first).float(), self.embed(second).float())


class BYOL(ContrastiveNetwork):
    """Predict the projection of the other view by a slowly following copy of the network (Grill et al. 2020).

    Args:
        momentum: momentum of the copy at the start; it rises to 1 along a cosine.
        Others as in :class:`ContrastiveNetwork`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import BYOL, UNetEncoder
        >>> network = BYOL(UNetEncoder(1, (4, 8)), features=8, hidden=16, out_features=6)
        >>> first, second = torch.rand(2, 4, 1, 16, 16)  # two views of four images
        >>> network(first, second).shape
        torch.Size([])
        >>> network.advance(progress=0.1)  # after each update
    """

    def __init__(
        self,
        encoder: nn.Module,
        features: int = 1024,
        hidden: int = 1024,
        out_features: int = 256,
        momentum: float = 0.996,
    ) -> None:
        super().__init__(encoder, features, hidden, out_features)
        self.prediction = mlp(out_features, hidden, out_features)
        self.momentum = momentum
        parts = {"encoder": encoder, "projection": self.projection}
        self.target = nn.ModuleDict({name: deepcopy(part) for name, part in parts.items()}).requires_grad_(False)

    @torch.no_grad()
    def _target(self, view: Tensor) -> Tensor:
        return self.target["projection"](self.target["encoder"](view)[-1].flatten(2).mean(2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of two views in both directions, see :class:`ContrastiveNetwork`."""
        pairs = ((first, second), (second, first))
        return torch.stack([byol_loss(self.prediction(self.embed(a)), self._target(b)) for a, b in pairs]).sum()

    @torch.no_grad()
    def advance(self, progress: float) -> None:
        """Move the copy: momentum 1 - (1 - m) (cos(pi progress) + 1) / 2."""
        keep = 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        online = [self.backbone["body"]["encoder"], self.projection]  # type: ignore[index]
        for copy, part in zip(self.target.values(), online):
            for mine, its in zip(copy.parameters(), part.parameters()):
                mine.lerp_(its, 1 - keep)


class SwAV(ContrastiveNetwork):
    """Assign views to prototypes and predict the assignment of one from the other (Caron et al. 2020), two views.

    Args:
        prototypes: number of prototypes; 3000 for ImageNet.
        temperature: temperature of :func:`swav_loss`.
        Others as in :class:`ContrastiveNetwork`.

    Example:
        >>> import torch
        >>> from monai_ext.networks.nets import SwAV, UNetEncoder
        >>> network = SwAV(UNetEncoder(1, (4, 8)), features=8, hidden=16, out_features=6, prototypes=5)
        >>> first, second = torch.rand(2, 4, 1, 16, 16)  # two views of four images
        >>> network(first, second).shape
        torch.Size([])
        >>> network.prototypes.weight.detach().norm(dim=1).round(decimals=3)
        tensor([1., 1., 1., 1., 1.])
    """

    def __init__(
        self,
        encoder: nn.Module,
        features: int = 1024,
        hidden: int = 1024,
        out_features: int = 128,
        prototypes: int = 300,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(encoder, features, hidden, out_features)
        self.prototypes = nn.Linear(out_features, prototypes, bias=False)
        self.temperature = temperature
        self.advance(0.0)

    def _scores(self, view: Tensor) -> Tensor:
        return self.prototypes(F.normalize(self.embed(view), dim=1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of two views, see :class:`ContrastiveNetwork`."""
        return swav_loss(self._scores(first), self._scores(second), self.temperature)

    @torch.no_grad()
    def advance(self, progress: float) -> None:
        """Normalize the prototypes to unit length."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

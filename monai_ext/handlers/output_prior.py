"""Begin a training with little foreground."""

from __future__ import annotations

from ignite.engine import Engine
from torch import nn

from monai_ext.networks import set_output_prior

__all__ = ["OutputPrior"]


class OutputPrior:
    """Set the output layers of a network by :func:`~monai_ext.networks.set_output_prior` when it is attached.

    Weights that are loaded afterwards, of a pretraining that has such layers or of a resumed run, replace it.

    Args:
        network: to be trained.
        share: part of the voxels that the untrained network takes for foreground; None takes all classes for as likely.
    """

    def __init__(self, network: nn.Module, share: float | None = None) -> None:
        self.network, self.share = network, share

    def attach(self, engine: Engine) -> None:
        """Set the output layers."""
        if self.share is not None:
            set_output_prior(self.network, self.share)

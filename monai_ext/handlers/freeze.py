"""Train the head first, then all of the network."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

__all__ = ["FreezeUntil"]


class FreezeUntil:
    """Keep a part of the network frozen for the first epochs ("frozen initially", prostate MAE, A.3).

    Only this part's parameters are touched; MONAI's ``freeze_layers`` would unfreeze all others, fixed ones included.

    Args:
        module: the part, for example the pretrained encoder; None (nothing is pretrained) freezes nothing.
        epochs: number of epochs during which it does not learn; 0 never freezes it.
    """

    def __init__(self, module: nn.Module | None, epochs: int) -> None:
        self.parameters = [] if module is None else [p for p in module.parameters() if p.requires_grad]
        self.epochs = epochs

    def attach(self, engine: Engine) -> None:
        """Freeze or unfreeze when an epoch starts, a resumed one too."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set ``requires_grad``."""
        for parameter in self.parameters:
            parameter.requires_grad_(engine.state.epoch > self.epochs)

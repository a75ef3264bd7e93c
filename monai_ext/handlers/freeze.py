"""Train the head first, then the whole network."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

__all__ = ["FreezeUntil"]


class FreezeUntil:
    """Keep a part of the network frozen for the first epochs ("frozen initially", prostate MAE, A.3).

    Only the parameters of this part change; MONAI's ``freeze_layers`` would unfreeze all others, even fixed ones.

    Args:
        module: part to freeze, for example the pretrained encoder; None (nothing is pretrained) freezes nothing.
        epochs: number of epochs during which the part is frozen; 0 never freezes it.
    """

    def __init__(self, module: nn.Module | None, epochs: int) -> None:
        self.parameters = [] if module is None else [p for p in module.parameters() if p.requires_grad]
        self.epochs = epochs

    def attach(self, engine: Engine) -> None:
        """Freeze or unfreeze at the start of every epoch, also after a resume."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set ``requires_grad``."""
        for parameter in self.parameters:
            parameter.requires_grad_(engine.state.epoch > self.epochs)

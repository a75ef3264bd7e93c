"""Several trained copies of a network as one network, such as those of a cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monai.inferers import Inferer
from torch import Tensor, nn

from monai_ext.networks import load_weights, mean_scores

__all__ = ["EnsembleInferer"]


class EnsembleInferer(Inferer):
    """Average the class probabilities of copies of a network with different weights, window by window.

    Without weights, and in training mode, it behaves like the inferer that it wraps. The copies are made at the first
    call.

    Args:
        inferer: runs a network over an image, for example a :class:`SlidingWindow`.
        weights: checkpoints, one per copy, such as the five of a cross-validation.
    """

    def __init__(self, inferer: Inferer, weights: Sequence[str | Path] = ()) -> None:
        super().__init__()
        self.inferer, self.weights = inferer, tuple(str(path) for path in weights)
        self.members: list[nn.Module] = []

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run the inferer with the mean network; arguments and result are those of the inferer.

        Raises:
            CheckpointError: when weights do not fit the network.
        """
        if not self.weights or getattr(network, "training", False):
            return self.inferer(inputs, network, *args, **kwargs)
        if not self.members:
            self.members = [self._member(network, path) for path in self.weights]  # type: ignore[arg-type]

        def mean(windows: Tensor, *more: Any, **named: Any) -> Tensor:
            return mean_scores([member(windows, *more, **named) for member in self.members])

        return self.inferer(inputs, mean, *args, **kwargs)

    def _member(self, network: nn.Module, path: str) -> nn.Module:
        member = copy.deepcopy(network).eval()
        load_weights(member, path)
        return member

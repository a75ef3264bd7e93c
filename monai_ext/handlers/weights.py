"""Load weights when a run starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader
from torch import nn

from monai_ext.data.io.record import describe_origin, metrics_behind
from monai_ext.handlers.find_handlers import find_handlers
from monai_ext.handlers.freeze import FreezeUntil
from monai_ext.networks import WeightReport, is_null, load_weights, members_of
from monai_ext.networks.published import is_named, is_published, load_published

__all__ = ["WeightsLoader"]

logger = logging.getLogger(__name__)


class WeightsLoader:
    """Load weights into a network when a run starts, by :func:`monai_ext.networks.load_weights`.

    Weights of a ``part`` come from a pretraining. They are not loaded when MONAI's ``CheckpointLoader``, which MONAI
    Label adds to a training, loads the whole network. When the file is missing, the part starts from scratch with a
    warning.

    Args:
        network: network that receives the weights.
        path: path of the checkpoint; ``null`` loads nothing and logs it. The part ``encoder`` may come from published
            weights too: a file, ``hub:OWNER/NAME`` or a name of the register, see :func:`load_published`.
        part: see :func:`load_weights`; for example ``encoder`` to start from pretraining, all members of an ensemble
            alike.
        min_share: see :func:`load_weights`.
        source_part: see :func:`load_weights`.
        frozen_epochs: epochs in which the part does not learn, while the rest of the network does; see
            :class:`FreezeUntil`. Nothing is frozen without a path.
    """

    def __init__(
        self,
        network: nn.Module,
        path: str | None,
        part: str = "",
        min_share: float = 1.0,
        source_part: str = "",
        frozen_epochs: int = 0,
    ) -> None:
        self.network, self.path, self.part = network, path, part
        self.min_share, self.source_part, self.frozen_epochs = min_share, source_part, frozen_epochs

    def attach(self, engine: Engine) -> None:
        """Load at the start of the run."""
        engine.add_event_handler(Events.STARTED, self)
        if self.frozen_epochs and not is_null(self.path):
            for member in members_of(self.network):
                FreezeUntil(member.get_submodule(self.part), self.frozen_epochs).attach(engine)

    def __call__(self, engine: Engine) -> None:
        """Load now."""
        if is_null(self.path):
            logger.warning("no weights loaded: %s starts from scratch", self.part or "the network")
        elif self.part and (loaders := find_handlers(engine, CheckpointLoader)):
            found = loaders[0].load_path
            logger.info("%s is not loaded into %s: training goes on from %s", self.path, self.part, found)
        elif self.part and not is_named(self.path) and not Path(str(self.path)).is_file():
            logger.warning(
                "NO PRETRAINED WEIGHTS: %s does not exist, so %s starts from scratch. `run training` makes it first; "
                "--pretrained null trains from scratch without this warning",
                self.path,
                self.part,
            )
        elif self.part == "encoder" and is_published(self.path):
            first, *_ = members = members_of(self.network)
            _share(members, load_published(first, str(self.path), self.part, self.min_share))
        else:
            first, *_ = members = members_of(self.network) if self.part else [self.network]
            _share(members, load_weights(first, str(self.path), self.part, self.min_share, self.source_part))
            logger.info("%s: %s", self.path, describe_origin(str(self.path)))
            if (r2 := metrics_behind(str(self.path)).get("r2", 1.0)) <= 0:
                said = "%s: its pretraining reconstructed unseen cases no better than a trivial fill (R2 %.2f)"
                logger.warning(said, self.path, r2)


def _share(members: Sequence[nn.Module], loaded: WeightReport) -> None:
    """Give the other members of an ensemble what the first one has loaded."""
    first = getattr(members[0], "module", members[0]).state_dict()
    for member in members[1:]:
        member.load_state_dict({name: first[name] for name in loaded.matched}, strict=False)

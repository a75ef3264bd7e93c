"""Random numbers as a function of the seed and the epoch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

__all__ = ["SeedEpochs", "random_state", "set_random_state"]


class SeedEpochs:
    """Seed every source of randomness from (seed, rank, epoch) when an epoch starts.

    A run resumed at an epoch then continues exactly like an uninterrupted one, without saving the state of a generator.
    The ``set_epoch`` of the data set and of its sampler, if any, is called too; of both where the loader is a
    :class:`~monai_ext.data.PairedLoader`.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Seed at the start of each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed Python, NumPy, torch and the random transforms of the data set."""
        state: Any = engine.state
        seed = hash((self.seed, state.rank, state.epoch)) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loader: Any = getattr(engine, "data_loader", None)
        for each in getattr(loader, "loaders", (loader,)):
            dataset: Any = getattr(each, "dataset", None)
            if dataset is not None:
                set_rnd(dataset, seed)
            parts: tuple[Any, ...] = (dataset, getattr(each, "sampler", None))
            for part in parts:  # of several processes, the sampler has its draw too
                if hasattr(part, "set_epoch"):
                    part.set_epoch(state.epoch)


def random_state() -> dict[str, Any]:
    """State of the generators that this process draws from: Python's, NumPy's, torch's of the host and of its GPU."""
    state: Any = np.random.get_state()
    name, keys, *rest = state
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on with the random numbers after those of :func:`random_state`."""
    version, values, gauss = state["python"]
    random.setstate((version, tuple(values), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])

"""Which handlers somebody else has attached to an engine: MONAI's tracking, MONAI Label's checkpoint loader."""

from __future__ import annotations

from typing import Any, TypeVar

from ignite.engine import Engine, Events

__all__ = ["attached"]

Kind = TypeVar("Kind")


def attached(engine: Engine, kind: type[Kind], event: Any = Events.STARTED) -> list[Kind]:
    """Handlers of a class that an engine will call at an event, in the order of their calls.

    ignite can only be asked for a handler that one has; MONAI and MONAI Label add theirs to what a config names.

    Args:
        engine: the engine.
        kind: class of the handlers.
        event: at which they are called.
    """
    called = (handler for handler, *_ in engine._event_handlers.get(event, ()))
    found = (handler if isinstance(handler, kind) else getattr(handler, "__self__", None) for handler in called)
    return [handler for handler in found if isinstance(handler, kind)]

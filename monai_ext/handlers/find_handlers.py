"""Find handlers that other code has attached to an engine: MONAI's tracking, MONAI Label's checkpoint loader."""

from __future__ import annotations

from typing import Any, TypeVar

from ignite.engine import Engine, Events

__all__ = ["find_handlers"]

Kind = TypeVar("Kind")


def find_handlers(engine: Engine, kind: type[Kind], event: Any = Events.STARTED) -> list[Kind]:
    """Handlers of a class that an engine calls at an event, in the order of their calls.

    ignite only tells whether a given handler is attached. MONAI and MONAI Label attach handlers of their own, which
    have to be found by their class.

    Args:
        engine: the engine to search.
        kind: the class of the handlers.
        event: the event at which they are called.
    """
    called = (handler for handler, *_ in engine._event_handlers.get(event, ()))
    found = (handler if isinstance(handler, kind) else getattr(handler, "__self__", None) for handler in called)
    return [handler for handler in found if isinstance(handler, kind)]

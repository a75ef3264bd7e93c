"""Follow a dotted name to the module that defines what it reaches: a name's first word says little about its last."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parents[1]))  # the package of this tree, not one that is installed


def resolve(name: str) -> object:
    """What a dotted name reaches: modules by import, what lies in them by attributes, as ``pydoc.locate`` does.

    Raises:
        LookupError: nothing of that name exists.
    """
    first, *rest = name.split(".")
    found: object = import_module(first)
    path = first
    for part in rest:
        path = f"{path}.{part}"
        if not hasattr(found, part):
            if not isinstance(found, ModuleType):
                raise LookupError(name)
            try:
                import_module(f"{found.__name__}.{part}")
            except ImportError as error:
                raise LookupError(name) from error
        found = getattr(found, part)
    return found


def defined_as(name: str) -> str:
    """Name of what ``name`` reaches in the module that defines it; a module has its own name.

    >>> defined_as("torch.optim.AdamW")
    'torch.optim.adamw.AdamW'
    >>> defined_as("torch.serialization.pickle.loads")
    '_pickle.loads'
    >>> defined_as("torch.hub.sys")
    'sys'
    """
    found = resolve(name)
    if isinstance(found, ModuleType):
        return found.__name__
    module, own = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if module and own:
        return f"{module}.{own}"
    holder, _, last = name.rpartition(".")  # a value, as torch.uint8: it has the name of its holder
    return f"{defined_as(holder)}.{last}" if holder else name

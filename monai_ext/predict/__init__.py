"""From a folder of scans to masks: ``python -m monai_ext.predict`` in a shell, ``monai_ext.predict(...)`` in Python."""

from types import ModuleType
from typing import Any

import monai_ext.predict as itself
from monai_ext.predict.command import main, predict
from monai_ext.predict.outcome import Outcome

__all__ = ["Outcome", "main", "predict"]


class _Predict(ModuleType):
    """This package, which can be called as its function: ``monai_ext.predict`` names both."""

    def __call__(self, *args: Any, **options: Any) -> list[Outcome]:
        return predict(*args, **options)


itself.__class__ = _Predict

"""Which scans to label first: ``python -m monai_ext.select`` in a shell, ``select(...)`` in Python."""

from monai_ext.select.command import select

__all__ = ["select"]

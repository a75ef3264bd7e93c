"""Data lists, checks before work, and synthetic data sets."""

from .phantoms import phantom, register_phantom

__all__ = ["phantom", "register_phantom"]

"""Transforms."""

from .suv import suv_scale, to_suv

__all__ = ["suv_scale", "to_suv"]

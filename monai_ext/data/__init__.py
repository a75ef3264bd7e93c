"""Data lists, checks before work, and synthetic data sets."""

from .datalist import load_datalist
from .phantoms import phantom, register_phantom
from .preflight import PreflightError, Problem, check_datalist

__all__ = ["PreflightError", "Problem", "check_datalist", "load_datalist", "phantom", "register_phantom"]

"""Data lists, checks before work, and synthetic data sets."""

from .datalist import load_datalist
from .phantoms import phantom, register_phantom
from .preflight import PreflightError, Problem, check_datalist
from .slices import SliceDataset
from .volume_cache import VolumeDataset

__all__ = [
    "PreflightError",
    "Problem",
    "SliceDataset",
    "VolumeDataset",
    "check_datalist",
    "load_datalist",
    "phantom",
    "register_phantom",
]

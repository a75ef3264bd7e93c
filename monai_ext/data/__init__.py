"""Data lists, checks before work, and synthetic data sets."""

from .crops import CropDataset
from .datalist import load_datalist
from .label_fraction import draw_patients, patients_of
from .phantoms import phantom, register_phantom
from .preflight import PreflightError, Problem, check_datalist
from .provenance import MapProvenance, fingerprint, refuse_leaking_maps
from .slices import SliceDataset
from .volume_cache import VolumeDataset

__all__ = [
    "CropDataset",
    "MapProvenance",
    "PreflightError",
    "Problem",
    "SliceDataset",
    "VolumeDataset",
    "check_datalist",
    "draw_patients",
    "fingerprint",
    "load_datalist",
    "patients_of",
    "phantom",
    "refuse_leaking_maps",
    "register_phantom",
]

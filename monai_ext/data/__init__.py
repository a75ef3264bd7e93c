"""Data lists, checks before work, and synthetic data sets."""

from .anomaly_maps import map_file, with_maps
from .crops import CropDataset
from .datalist import load_datalist
from .domain_slices import DomainSampler, DomainSliceDataset
from .foreground_batches import ForegroundBatches
from .generator_plan import GeneratorPlan, plan_generators
from .label_fraction import draw_patients, patients_of
from .phantoms import phantom, register_phantom
from .preflight import PreflightError, Problem, check_datalist
from .provenance import MapProvenance, fingerprint, refuse_leaking_maps
from .shards import my_studies
from .slices import SliceDataset
from .volume_cache import VolumeDataset

__all__ = [
    "CropDataset",
    "DomainSampler",
    "DomainSliceDataset",
    "ForegroundBatches",
    "GeneratorPlan",
    "MapProvenance",
    "PreflightError",
    "Problem",
    "SliceDataset",
    "VolumeDataset",
    "check_datalist",
    "draw_patients",
    "fingerprint",
    "load_datalist",
    "map_file",
    "my_studies",
    "patients_of",
    "phantom",
    "plan_generators",
    "refuse_leaking_maps",
    "register_phantom",
    "with_maps",
]

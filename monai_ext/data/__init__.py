"""Data lists, checks before work, and synthetic data sets."""

from monai_ext.data.anomaly_maps import map_file, with_maps
from monai_ext.data.crops import CropDataset
from monai_ext.data.datalist import load_datalist
from monai_ext.data.domain_slices import DomainSampler, DomainSliceDataset
from monai_ext.data.generator_plan import GeneratorPlan, plan_generators
from monai_ext.data.label_fraction import draw_patients, patients_of
from monai_ext.data.phantoms import phantom, register_phantom
from monai_ext.data.preflight import PreflightError, Problem, check_datalist
from monai_ext.data.provenance import MapProvenance, fingerprint, refuse_leaking_maps
from monai_ext.data.shards import my_studies
from monai_ext.data.slices import SliceDataset
from monai_ext.data.volume_cache import VolumeDataset

__all__ = [
    "CropDataset",
    "DomainSampler",
    "DomainSliceDataset",
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

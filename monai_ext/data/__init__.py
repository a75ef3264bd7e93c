"""Data lists, checks before work, and synthetic data sets.

The names in ``__all__`` are imported on first use. Networks and transforms import ``monai_ext.data.io``, and the data
sets import the transforms, so this package must not import the data sets itself.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "CropDataset": "crops",
    "DomainSampler": "domain_slices",
    "DomainSliceDataset": "domain_slices",
    "ForegroundBatches": "foreground_batches",
    "GeneratorPlan": "generator_plan",
    "MapProvenance": "provenance",
    "PairedLoader": "paired_loader",
    "PreflightError": "preflight",
    "Problem": "preflight",
    "SliceDataset": "slices",
    "StudyDataset": "studies",
    "TrainLoader": "loader",
    "VolumeDataset": "volume_cache",
    "check_datalist": "preflight",
    "draw_patients": "label_fraction",
    "fingerprint": "provenance",
    "find_studies": "found_studies",
    "load_datalist": "datalist",
    "load_studies": "datalist",
    "map_file": "anomaly_maps",
    "load_labelled": "label_fraction",
    "load_scans": "label_fraction",
    "load_unlabelled": "label_fraction",
    "patients_of": "label_fraction",
    "phantom": "phantoms",
    "plan_generators": "generator_plan",
    "recorded_plan": "generator_plan",
    "refuse_leaking_maps": "provenance",
    "register_phantom": "phantoms",
    "with_maps": "anomaly_maps",
}

__all__ = [
    "CropDataset",
    "DomainSampler",
    "DomainSliceDataset",
    "ForegroundBatches",
    "GeneratorPlan",
    "MapProvenance",
    "PairedLoader",
    "PreflightError",
    "Problem",
    "SliceDataset",
    "StudyDataset",
    "TrainLoader",
    "VolumeDataset",
    "check_datalist",
    "draw_patients",
    "find_studies",
    "fingerprint",
    "load_datalist",
    "load_labelled",
    "load_scans",
    "load_studies",
    "load_unlabelled",
    "map_file",
    "patients_of",
    "phantom",
    "plan_generators",
    "recorded_plan",
    "refuse_leaking_maps",
    "register_phantom",
    "with_maps",
]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'monai_ext.data' has no attribute {name!r}")
    return getattr(import_module(f"monai_ext.data.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Names that are already imported, and names that are imported on use."""
    return sorted({*globals(), *__all__})

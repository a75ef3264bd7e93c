"""Synthetic data sets for running and testing; one module per data set, each registered under its name."""

from monai_ext.data.phantoms.bpmri import generate_bpmri
from monai_ext.data.phantoms.brain_mr import generate_brain_mr
from monai_ext.data.phantoms.ct_multiorgan import CT_ORGANS, generate_ct_multiorgan
from monai_ext.data.phantoms.hn_petct import generate_hn_petct
from monai_ext.data.phantoms.prostate_context import generate_prostate_context
from monai_ext.data.phantoms.registry import cache_root, phantom, phantom_names, register_phantom
from monai_ext.data.phantoms.wholebody_petct import generate_petct

__all__ = [
    "CT_ORGANS",
    "cache_root",
    "generate_bpmri",
    "generate_brain_mr",
    "generate_ct_multiorgan",
    "generate_hn_petct",
    "generate_petct",
    "generate_prostate_context",
    "phantom",
    "phantom_names",
    "register_phantom",
]

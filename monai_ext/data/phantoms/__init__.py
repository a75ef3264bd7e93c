"""Synthetic data sets for running and testing; one module per data set, each registered under its name."""

from .bpmri import generate_bpmri
from .brain_mr import generate_brain_mr
from .ct_multiorgan import CT_ORGANS, generate_ct_multiorgan
from .hn_petct import generate_hn_petct
from .registry import cache_root, phantom, phantom_names, register_phantom
from .wholebody_petct import generate_petct

__all__ = [
    "CT_ORGANS",
    "cache_root",
    "generate_bpmri",
    "generate_brain_mr",
    "generate_ct_multiorgan",
    "generate_hn_petct",
    "generate_petct",
    "phantom",
    "phantom_names",
    "register_phantom",
]

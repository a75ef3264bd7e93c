"""Maskers choose the patches that are hidden from the network."""

from monai_ext.maskers.adaptive_lesion import AdaptiveLesionMasker, RisingRatio
from monai_ext.maskers.anatomask import AnatoMasker
from monai_ext.maskers.lesion_aware import LesionAwareMasker
from monai_ext.maskers.masker import Masker, RandomMasker, mask_all_but, weighted_sample
from monai_ext.networks.blocks.clustering import Clusters, PatchClustering, find_air
from monai_ext.networks.blocks.two_means import two_means

__all__ = [
    "AdaptiveLesionMasker",
    "AnatoMasker",
    "Clusters",
    "LesionAwareMasker",
    "Masker",
    "PatchClustering",
    "RandomMasker",
    "RisingRatio",
    "find_air",
    "mask_all_but",
    "two_means",
    "weighted_sample",
]

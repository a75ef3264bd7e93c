"""Which patches the network does not see."""

from .adaptive_lesion import AdaptiveLesionMasker, RisingRatio
from .anatomask import AnatoMasker
from .clustering import Clusters, PatchClustering, find_air
from .lesion_aware import LesionAwareMasker
from .lesion_recall import lesion_recall
from .masker import Masker, RandomMasker, mask_all_but, weighted_sample
from .two_means import two_means

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
    "lesion_recall",
    "mask_all_but",
    "two_means",
    "weighted_sample",
]

"""Which patches the network does not see."""

from .lesion_aware import LesionAwareMasker
from .masker import Masker, RandomMasker, mask_all_but, weighted_sample

__all__ = ["LesionAwareMasker", "Masker", "RandomMasker", "mask_all_but", "weighted_sample"]

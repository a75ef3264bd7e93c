"""Which patches the network does not see."""

from .masker import Masker, RandomMasker, mask_all_but, weighted_sample

__all__ = ["Masker", "RandomMasker", "mask_all_but", "weighted_sample"]

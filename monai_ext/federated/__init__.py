"""Federated training of a bundle: each site runs MONAI's client algorithm, NVFlare averages the weights."""

from monai_ext.federated.job import federate, split_by_site

__all__ = ["federate", "split_by_site"]

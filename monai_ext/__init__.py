"""Maskers, networks, losses and engines for lesion and organ segmentation with few labels."""

__version__ = "0.1.0"

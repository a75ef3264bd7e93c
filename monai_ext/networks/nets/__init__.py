"""Networks of the papers."""

from .mae_segmenter import MAESegmenter
from .masked_autoencoder import MAEEncoder, MaskedAutoencoder

__all__ = ["MAEEncoder", "MAESegmenter", "MaskedAutoencoder"]

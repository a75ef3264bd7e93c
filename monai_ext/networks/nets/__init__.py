"""Networks of the papers."""

from .anomaly_autoencoder import AnomalyAutoencoder
from .fixed_point_gan import FixedPointDiscriminator, FixedPointGenerator
from .mae_segmenter import MAESegmenter
from .masked_autoencoder import MAEEncoder, MaskedAutoencoder
from .swin_unet import SwinUnet
from .transunet import TransUNet
from .vnet import VNet
from .xlstm_unet import ResidualDecoder, XLSTMEncoder, XLSTMMaskedAutoencoder, XLSTMUNet

__all__ = [
    "AnomalyAutoencoder",
    "FixedPointDiscriminator",
    "FixedPointGenerator",
    "MAEEncoder",
    "MAESegmenter",
    "MaskedAutoencoder",
    "ResidualDecoder",
    "SwinUnet",
    "TransUNet",
    "VNet",
    "XLSTMEncoder",
    "XLSTMMaskedAutoencoder",
    "XLSTMUNet",
]

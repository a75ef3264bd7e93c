"""Networks of the papers."""

from .anomaly_autoencoder import AnomalyAutoencoder
from .contrastive import BYOL, ContrastiveNetwork, SimCLR, SwAV
from .fixed_point_gan import FixedPointDiscriminator, FixedPointGenerator
from .mae_segmenter import MAESegmenter
from .masked_autoencoder import MAEEncoder, MaskedAutoencoder
from .masked_image_model import MaskedImageModel
from .masked_residual_encoder import MaskedResidualEncoder
from .masked_stunet import MaskedSTUNet
from .residual_encoder_unet import ResidualEncoder, ResidualEncoderUNet
from .stunet import STUNet, STUNetEncoder
from .swin_unet import SwinUnet
from .transunet import TransUNet
from .unet import UNet, UNetEncoder
from .uptake_threshold import UptakeThreshold
from .vnet import VNet
from .xlstm_unet import ResidualDecoder, XLSTMEncoder, XLSTMMaskedAutoencoder, XLSTMUNet

__all__ = [
    "BYOL",
    "AnomalyAutoencoder",
    "ContrastiveNetwork",
    "FixedPointDiscriminator",
    "FixedPointGenerator",
    "MAEEncoder",
    "MAESegmenter",
    "MaskedAutoencoder",
    "MaskedImageModel",
    "MaskedResidualEncoder",
    "MaskedSTUNet",
    "ResidualDecoder",
    "ResidualEncoder",
    "ResidualEncoderUNet",
    "STUNet",
    "STUNetEncoder",
    "SimCLR",
    "SwAV",
    "SwinUnet",
    "TransUNet",
    "UNet",
    "UNetEncoder",
    "UptakeThreshold",
    "VNet",
    "XLSTMEncoder",
    "XLSTMMaskedAutoencoder",
    "XLSTMUNet",
]

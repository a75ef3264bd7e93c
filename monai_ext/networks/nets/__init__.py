"""Networks of the papers."""

from monai_ext.networks.nets.anomaly_autoencoder import AnomalyAutoencoder
from monai_ext.networks.nets.constant_reconstruction import ConstantReconstruction
from monai_ext.networks.nets.contrastive import BYOL, ContrastiveNetwork, SimCLR, SwAV
from monai_ext.networks.nets.domain_head import DomainHead
from monai_ext.networks.nets.fixed_point_gan import FixedPointDiscriminator, FixedPointGenerator
from monai_ext.networks.nets.guided_diffusion import GuidedDiffusion
from monai_ext.networks.nets.lesion_restorer import LesionRestorer
from monai_ext.networks.nets.mae_segmenter import MAESegmenter
from monai_ext.networks.nets.masked_autoencoder import MAEEncoder, MaskedAutoencoder
from monai_ext.networks.nets.masked_image_model import MaskedImageModel
from monai_ext.networks.nets.masked_residual_encoder import MaskedResidualEncoder
from monai_ext.networks.nets.masked_stunet import MaskedSTUNet
from monai_ext.networks.nets.reconstructor import RECONSTRUCTORS, Reconstructor, build_reconstructor
from monai_ext.networks.nets.residual_encoder_unet import ResidualEncoder, ResidualEncoderUNet
from monai_ext.networks.nets.stunet import STUNet, STUNetEncoder
from monai_ext.networks.nets.swin_unet import SwinUnet
from monai_ext.networks.nets.transunet import TransUNet
from monai_ext.networks.nets.unet import UNet, UNetEncoder
from monai_ext.networks.nets.uptake_threshold import UptakeThreshold
from monai_ext.networks.nets.vnet import VNet
from monai_ext.networks.nets.xlstm_unet import ResidualDecoder, XLSTMEncoder, XLSTMMaskedAutoencoder, XLSTMUNet

__all__ = [
    "BYOL",
    "RECONSTRUCTORS",
    "AnomalyAutoencoder",
    "ConstantReconstruction",
    "ContrastiveNetwork",
    "DomainHead",
    "FixedPointDiscriminator",
    "FixedPointGenerator",
    "GuidedDiffusion",
    "LesionRestorer",
    "MAEEncoder",
    "MAESegmenter",
    "MaskedAutoencoder",
    "MaskedImageModel",
    "MaskedResidualEncoder",
    "MaskedSTUNet",
    "Reconstructor",
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
    "build_reconstructor",
]

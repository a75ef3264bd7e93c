"""Published networks as their authors' code has them; nothing of monai_ext is used here.

ResEnc: the authors' own class (dynamic-network-architectures) and the plan that nnssl keeps beside its weights.
STU-Net, SparK, AnatoMask: a restatement from the names and shapes of uni-medical/STU-Net and ricklisz/AnatoMask.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn


def published_resenc(in_channels, num_classes, channels, strides, blocks, **options):
    """The authors' class, as nnssl calls it for ResEnc-L."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    levels = len(channels)
    return unet.ResidualEncoderUNet(
        in_channels,
        levels,
        list(channels),
        nn.Conv3d,
        [[3, 3, 3]] * levels,
        [[s] * 3 if isinstance(s, int) else list(s) for s in strides],
        list(blocks),
        num_classes,
        [1] * (levels - 1),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        **options,
    )


def plan_of_nnssl(architecture="ResEncL", stem="encoder.stem"):
    """What AdaptationPlan.serialize() of nnssl returns."""
    configuration = {
        "data_identifier": "nnsslPlans_3d_fullres",
        "spacing_style": "onemmiso",
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "spacing": [1, 1, 1],
        "patch_size": [160, 160, 160],
    }
    return {
        "architecture_plans": {
            "arch_class_name": architecture,
            "arch_kwargs": None,
            "arch_kwargs_requiring_import": None,
        },
        "pretrain_plan": {"dataset_name": "Dataset745_OpenNeuro_v2", "configurations": {"onemmiso": configuration}},
        "pretrain_num_input_channels": 1,
        "recommended_downstream_patchsize": [160, 160, 160],
        "key_to_encoder": "encoder.stages",
        "key_to_stem": stem,
        "keys_to_in_proj": [f"{stem}.convs.0.conv", f"{stem}.convs.0.all_modules.0"],
        "key_to_lpe": None,
    }


class Block(nn.Module):
    def __init__(self, cin, cout, stride=1, project=False):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv3d(cin, cout, 3, stride, 1), nn.InstanceNorm3d(cout, affine=True)
        self.conv2, self.norm2 = nn.Conv3d(cout, cout, 3, 1, 1), nn.InstanceNorm3d(cout, affine=True)
        if project:
            self.conv3 = nn.Conv3d(cin, cout, 1, stride)

    def forward(self, x):
        y = self.norm2(self.conv2(F.leaky_relu(self.norm1(self.conv1(x)))))
        return F.leaky_relu(y + (self.conv3(x) if hasattr(self, "conv3") else x))


class Upsample(nn.Module):
    def __init__(self, cin, cout, scale):
        super().__init__()
        self.conv, self.scale = nn.Conv3d(cin, cout, 1), scale

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=self.scale, mode="nearest"))


class PublishedSTUNet(nn.Module):
    """STU-Net of any width and depth."""

    def __init__(self, base, depth, classes=3):
        super().__init__()
        dims, strides = [base * n for n in (1, 2, 4, 8, 16, 16)], [1, 2, 2, 2, 2, 1]

        def stage(cin, cout, stride=1):
            first = Block(cin, cout, stride, project=True)
            return nn.Sequential(first, *(Block(cout, cout) for _ in range(depth - 1)))

        self.conv_blocks_context = nn.ModuleList(stage(a, b, s) for a, b, s in zip([1, *dims], dims, strides))
        self.upsample_layers = nn.ModuleList(
            Upsample(a, b, s) for a, b, s in zip(dims[:0:-1], dims[-2::-1], strides[:0:-1])
        )
        self.conv_blocks_localization = nn.ModuleList(stage(2 * b, b) for b in dims[-2::-1])
        self.seg_outputs = nn.ModuleList(nn.Conv3d(b, classes, 1) for b in dims[-2::-1])

    def features(self, x):
        """Of every stage of the encoder, finest first."""
        found = []
        for stage in self.conv_blocks_context:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x):
        """Logits of every level, finest first."""
        skips, outputs = self.features(x), []
        x = skips.pop()
        for up, stage, head in zip(self.upsample_layers, self.conv_blocks_localization, self.seg_outputs):
            x = stage(torch.cat([up(x), skips.pop()], 1))
            outputs.append(head(x))
        return outputs[::-1]

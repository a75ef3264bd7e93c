"""Architectures told from the names and shapes of weights."""

import pytest
import torch
from published_networks import network, refused

RESENC = ("nnssl", "nnunet", "plain", "safetensors")


@pytest.mark.parametrize(
    ("weights", "architecture"),
    [
        ({"eva.blocks.0.attn.qkv.weight": 1, "down_projection.proj.weight": 1}, "Primus"),
        ({"swinViT.patch_embed.proj.weight": 1}, "SwinUNETR"),
        ({"encoder.stages.0.0.convs.0.conv.weight": 1}, "PlainConvUNet"),
        ({"layer1.0.conv1.weight": 1}, "unknown"),
    ],
)
def test_architectures_told_by_their_names(tmp_path, weights, architecture):
    torch.save({name: torch.zeros(1) for name in weights}, tmp_path / "a.pth")
    refused(network("nnssl"), tmp_path / "a.pth", f"the weights are of {architecture}, the network is ResEnc")


def test_architecture_that_the_plan_names(write):
    published = write("nnssl", architecture="PrimusM")
    refused(network("nnssl"), published.file, "the weights are of PrimusM, the network is ResEnc")

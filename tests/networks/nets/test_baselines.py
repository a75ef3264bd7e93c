"""The comparison networks of the prostate MAE's Table 1, by the definitions that its configs use."""

import copy

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.utils import convert_to_onnx, convert_to_torchscript

NETWORK_DEFS = {
    # Ronneberger et al. 2015: four 2x2 max-poolings, 64 to 1024 channels; batch normalisation is the usual addition.
    "unet": {
        "_target_": "monai.networks.nets.BasicUNet",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 2,
        "features": [64, 128, 256, 512, 1024, 64],
        "act": "relu",
        "norm": "batch",
        "bias": False,
    },
    "vnet": {"_target_": "monai_ext.networks.nets.VNet", "in_channels": 3, "num_classes": 2},
    # Oktay et al. 2018, figure 1: four scales, 64 to 512 channels.
    "attention_unet": {
        "_target_": "monai.networks.nets.AttentionUnet",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 2,
        "channels": [64, 128, 256, 512],
        "strides": [2, 2, 2],
    },
    "transunet": {
        "_target_": "monai_ext.networks.nets.TransUNet",
        "in_channels": 3,
        "num_classes": 2,
        "img_size": 88,
    },
    "swin_unet": {
        "_target_": "monai_ext.networks.nets.SwinUnet",
        "in_channels": 3,
        "num_classes": 2,
        "img_size": 88,
    },
}


@pytest.fixture(scope="module", params=NETWORK_DEFS)
def network(request):
    torch.manual_seed(0)
    parser = ConfigParser({"network_def": copy.deepcopy(NETWORK_DEFS[request.param])})
    return parser.get_parsed_content("network_def")


@pytest.fixture(scope="module")
def image():
    return torch.randn(2, 3, 88, 88, generator=torch.Generator().manual_seed(1))


def test_logits_and_gradients(network, image):
    network.train().zero_grad(set_to_none=True)
    logits = network(image)
    assert logits.shape == (2, 2, 88, 88)
    logits.square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_every_pixel_of_the_image_matters(network, image):
    """Padding and cropping keep the corners: a change there changes the logits there."""
    network.eval()
    changed = image.clone()
    corners = (slice(None), slice(None), [0, 0, -1, -1], [0, -1, 0, -1])
    changed[corners] += 5
    with torch.no_grad():
        assert ((network(changed) - network(image))[corners].abs() > 1e-5).all()


def test_trace_agrees_with_eager(network, image):
    network.eval()
    traced = convert_to_torchscript(network, inputs=[image], use_trace=True)
    for batch in (image, image[:1], torch.cat([image, image + 1])):  # a trace must not bake in the number of slices
        with torch.no_grad():
            torch.testing.assert_close(traced(batch), network(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_onnx_agrees_with_eager(network, image):
    convert_to_onnx(network.eval(), inputs=[image], verify=True, use_ort=True, use_trace=True, rtol=1e-3, atol=1e-4)

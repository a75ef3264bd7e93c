"""A script is the network at its inference, for images of any size that the network takes."""

import pytest
import torch

from monai_ext.networks import DeepEnsemble
from monai_ext.networks.blocks import Scriptable
from monai_ext.networks.nets import MAESegmenter, ResidualEncoderUNet, STUNet, UNet, XLSTMUNet

XLSTM = {"channels": (4, 8, 16), "strides": (1, 2, (1, 2, 2)), "num_heads": 2}
NETWORKS = {
    "unet": (lambda: UNet(2, 3, (4, 8, 8)), [(16, 16), (24, 40)]),
    "unet_3d": (lambda: UNet(1, 2, (4, 8), spatial_dims=3), [(8, 8, 8), (4, 10, 6)]),
    "mae_segmenter": (
        lambda: MAESegmenter(img_size=16, patch_size=4, decoder_channels=8, embed_dim=16, depth=1, num_heads=2),
        [(16, 16)],
    ),
    "stunet": (lambda: STUNet(2, 3, (4, 1), ((2, 2, 2), (1, 2, 2))), [(4, 8, 8), (6, 16, 12)]),
    "xlstm_bottleneck": (lambda: XLSTMUNet(position="bottleneck", **XLSTM), [(8, 8, 8), (12, 16, 8), (32, 32, 20)]),
    "xlstm_encoder": (lambda: XLSTMUNet(position="encoder", **XLSTM), [(8, 8, 8), (6, 12, 16)]),
    "xlstm_one_direction": (lambda: XLSTMUNet(bidirectional=False, **XLSTM), [(8, 8, 8), (6, 12, 16)]),
    "resenc": (lambda: ResidualEncoderUNet(1, 3, [4, 8], [1, 2], [1, 1]), [(8, 8, 8), (4, 12, 6)]),
    "ensemble": (lambda: DeepEnsemble(UNet(1, 2, (4, 8)), 2), [(8, 8), (12, 4)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_script_gives_what_the_network_gives(name, tmp_path):
    torch.manual_seed(0)
    build, sizes = NETWORKS[name]
    network = build().train()
    scripted = torch.jit.script(network)
    assert network.training
    torch.jit.save(scripted, tmp_path / "model.ts")
    scripted, network = torch.jit.load(tmp_path / "model.ts"), network.eval()
    channels = next(p for p in network.parameters() if p.ndim > 3).shape[1]
    for size in sizes:
        image = torch.randn(2, channels, *size)
        with torch.no_grad():
            torch.testing.assert_close(scripted(image), network(image), atol=1e-5, rtol=1e-4)


def test_a_network_that_does_not_say_its_size():
    class Silent(Scriptable):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 1)

    with pytest.raises(NotImplementedError, match="Silent does not say"):
        torch.jit.script(Silent())

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_ext.errors import CheckpointError
from monai_ext.networks import load_weights
from monai_ext.networks.nets import MaskedSTUNet, STUNet
from monai_ext.networks.stunet_checkpoint import adapt_input_channels, convert_official_stunet, main


class PublishedBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, project=False):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv3d(cin, cout, 3, stride, 1), nn.InstanceNorm3d(cout, affine=True)
        self.conv2, self.norm2 = nn.Conv3d(cout, cout, 3, 1, 1), nn.InstanceNorm3d(cout, affine=True)
        if project:
            self.conv3 = nn.Conv3d(cin, cout, 1, stride)

    def forward(self, x):
        y = self.norm2(self.conv2(F.leaky_relu(self.norm1(self.conv1(x)))))
        return F.leaky_relu(y + (self.conv3(x) if hasattr(self, "conv3") else x))


class PublishedUpsample(nn.Module):
    def __init__(self, cin, cout, scale):
        super().__init__()
        self.conv, self.scale = nn.Conv3d(cin, cout, 1), scale

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=self.scale, mode="nearest"))


class Published(nn.Module):
    """STU-Net as its paper and its checkpoints' names describe it, for sizes of any width and depth."""

    def __init__(self, base, depth, classes):
        super().__init__()
        dims, strides = [base * n for n in (1, 2, 4, 8, 16, 16)], [1, 2, 2, 2, 2, 1]

        def stage(cin, cout, stride=1):
            first = PublishedBlock(cin, cout, stride, project=True)
            return nn.Sequential(first, *(PublishedBlock(cout, cout) for _ in range(depth - 1)))

        self.conv_blocks_context = nn.ModuleList(stage(a, b, s) for a, b, s in zip([1, *dims], dims, strides))
        self.upsample_layers = nn.ModuleList(
            PublishedUpsample(a, b, s) for a, b, s in zip(dims[:0:-1], dims[-2::-1], strides[:0:-1])
        )
        self.conv_blocks_localization = nn.ModuleList(stage(2 * b, b) for b in dims[-2::-1])
        self.seg_outputs = nn.ModuleList(nn.Conv3d(b, classes, 1) for b in dims[-2::-1])

    def forward(self, x):
        skips, outputs = [], []
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, stage, head in zip(self.upsample_layers, self.conv_blocks_localization, self.seg_outputs):
            x = stage(torch.cat([up(x), skips.pop()], 1))
            outputs.append(head(x))
        return outputs[::-1]


def test_converted_weights_compute_what_the_published_network_does():
    torch.manual_seed(0)
    published, image = Published(16, 1, 4), torch.randn(1, 1, 32, 32, 16)
    network = STUNet(num_classes=4, size="S")
    converted = convert_official_stunet({f"module.{k}": v for k, v in published.state_dict().items()})
    network.load_state_dict(converted, strict=True)
    for mine, its in zip(network(image), published(image), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("size", "base", "depth"), [("B", 32, 1), ("L", 64, 2), ("H", 96, 3)])
def test_names_and_shapes_of_every_size(size, base, depth):
    with torch.device("meta"):
        converted = convert_official_stunet(Published(base, depth, 105).state_dict())
        ours = STUNet(size=size).state_dict()
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in ours.items()}


def test_more_input_channels_keep_the_features():
    one = MaskedSTUNet(1, "S")
    state = adapt_input_channels(one.encoder.state_dict(prefix="encoder."), 3)
    three = STUNet(3, 2, "S")
    report = three.load_state_dict(state, strict=False)
    assert not report.unexpected_keys
    image = torch.randn(1, 1, 16, 16, 32)
    for mine, its in zip(three.encoder(image.expand(-1, 3, -1, -1, -1)), one.encoder(image)):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)


def test_refuses_what_it_does_not_know():
    with pytest.raises(CheckpointError, match=r"blocks\.0\.weight is no parameter"):
        convert_official_stunet({"blocks.0.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"no encoder\.stages\.0\.0\.conv1\.weight"):
        adapt_input_channels({}, 2)
    state = STUNet(2, 2, "S").state_dict()
    with pytest.raises(CheckpointError, match="weights for 2 channels cannot be repeated to 3"):
        adapt_input_channels(state, 3)


@pytest.mark.parametrize("key", ["state_dict", "network_weights"])
def test_converts_a_file_with_the_curves_that_nnunet_keeps_beside_the_weights(tmp_path, monkeypatch, key):
    published = Published(16, 1, 2)
    curves = {"epoch": 4000, "plot_stuff": ([np.float64(0.5)], [np.float32(0.25)], [np.int64(3)])}
    torch.save({key: published.state_dict(), **curves}, tmp_path / "small.model")
    monkeypatch.setattr(
        sys, "argv", ["convert", str(tmp_path / "small.model"), str(tmp_path / "s.pt"), "--in-channels=2"]
    )
    main()
    report = load_weights(STUNet(2, 2, "S"), tmp_path / "s.pt")
    assert len(report.matched) == 130


def test_gives_own_weights_more_input_channels(tmp_path, monkeypatch):
    network = STUNet(1, 2, "S")
    torch.save(network.state_dict(), tmp_path / "one.pt")
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path / "one.pt"), str(tmp_path / "two.pt"), "--in-channels=2"])
    main()
    two = STUNet(2, 2, "S")
    assert not load_weights(two, tmp_path / "two.pt").missing
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        both = two.eval()(image.expand(-1, 2, -1, -1, -1))
        torch.testing.assert_close(both, network.eval()(image), rtol=1e-3, atol=1e-3)

import sys

import numpy as np
import pytest
import torch
from published_code import PublishedSTUNet

from monai_ext.errors import CheckpointError
from monai_ext.networks import load_weights
from monai_ext.networks.nets import MaskedSTUNet, STUNet
from monai_ext.networks.stunet_checkpoint import adapt_input_channels, convert_official_stunet, main


def test_converted_weights_compute_what_the_published_network_does():
    torch.manual_seed(0)
    published, image = PublishedSTUNet(16, 1, 4), torch.randn(1, 1, 32, 32, 16)
    network = STUNet(num_classes=4, size="S")
    converted = convert_official_stunet({f"module.{k}": v for k, v in published.state_dict().items()})
    network.load_state_dict(converted, strict=True)
    for mine, its in zip(network(image), published(image), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("size", "base", "depth"), [("B", 32, 1), ("L", 64, 2), ("H", 96, 3)])
def test_names_and_shapes_of_every_size(size, base, depth):
    with torch.device("meta"):
        converted = convert_official_stunet(PublishedSTUNet(base, depth, 105).state_dict())
        ours = STUNet(size=size).state_dict()
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in ours.items()}


def test_more_input_channels_keep_the_features():
    torch.manual_seed(0)
    one = MaskedSTUNet(1, "S").double()
    state = adapt_input_channels(one.encoder.state_dict(prefix="encoder."), 3)
    three = STUNet(3, 2, "S").double()
    report = three.load_state_dict(state, strict=False)
    assert not report.unexpected_keys
    image = torch.randn(1, 1, 16, 16, 32, dtype=torch.float64)
    for mine, its in zip(three.encoder(image.expand(-1, 3, -1, -1, -1)), one.encoder(image)):
        torch.testing.assert_close(mine, its, rtol=1e-8, atol=1e-9)


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
    published = PublishedSTUNet(16, 1, 2)
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

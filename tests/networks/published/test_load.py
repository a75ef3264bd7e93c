"""Each format: the features of the published code after loading; what does not fit is one named error."""

import logging

import pytest
import torch
from published_networks import SIZES, network, refused

from monai_ext.errors import ConfigError
from monai_ext.networks import save_atomically
from monai_ext.networks.nets import (
    MaskedResidualEncoder,
    MaskedSTUNet,
    STUNet,
    UNet,
    XLSTMUNet,
)
from monai_ext.networks.published import is_published, load_published, read_published, repeat_channels

RESENC = ("nnssl", "nnunet", "plain", "safetensors")


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("kind", [*RESENC, "stunet", "spark"])
def test_features_are_those_of_the_published_code(write, kind, channels):
    """With several channels, of the same image in each: the rule keeps the features."""
    published = write(kind)
    net = network(kind, channels).eval()
    report = load_published(net, published.file)
    assert not report.missing
    image = torch.randn(1, 1, 32, 32, 16).double()
    with torch.no_grad():
        expected, found = published.features(image), net.double().encoder(image.expand(-1, channels, -1, -1, -1))
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["nnssl", "spark"])
def test_masked_pretraining_goes_on_from_published_weights(write, kind):
    published = write(kind)
    net = MaskedSTUNet(1, (8, 1)) if kind == "spark" else MaskedResidualEncoder(1, (8, 8, 8), **SIZES)
    assert not load_published(net, published.file).missing
    image = torch.randn(1, 1, 16, 16, 32).double()
    with torch.no_grad():
        for mine, its in zip(net.double().encoder(image), published.features(image)):
            torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


def test_report_names_what_is_left_out_and_the_log_says_how_it_was_pretrained(write, caplog):
    published, net = write("nnssl"), network("nnssl", 2)
    with caplog.at_level(logging.INFO):
        report = load_published(net, published.file)
    assert set(report.matched) == {name for name, _ in net.named_parameters() if name.startswith("encoder.")}
    assert report.unexpected
    assert all(name.startswith("decoder.") for name in report.unexpected)  # and nothing twice
    assert "spacing [1, 1, 1]; normalization ['ZScoreNormalization']; patch [160, 160, 160]" in caplog.text
    assert "repeated to 2 channels and divided" in caplog.text


def test_whole_stunet_with_its_decoder(write):
    published, net = write("stunet"), STUNet(1, 7, (8, 1))
    report = load_published(net, published.file, part="")
    assert {name.split(".")[0] for name in report.missing} == {"heads"}  # of other classes
    assert any(name.startswith("upsamples.") for name in report.matched)


def test_xlstm_at_the_bottleneck_stays_new(write):
    published, net = write("nnssl"), network("nnssl", position="bottleneck")
    before = {name: value.clone() for name, value in net.encoder.xlstm.state_dict().items()}
    report = load_published(net, published.file, min_share=1.0)
    assert report.missing
    assert all(name.startswith("encoder.xlstm.") for name in report.missing)
    for name, value in net.encoder.xlstm.state_dict().items():
        assert torch.equal(value, before[name])


def test_stems_of_multitalent(write):
    published, image = write("multitalent"), torch.randn(1, 1, 16, 16, 16).double()
    for stem, encoder in (("", published.features[0]), ("encoder.stem.004", published.features[1])):
        net = network("multitalent").eval()
        report = load_published(net, published.file, stem=stem, min_share=1.0)
        assert all(name.startswith("encoder.stem.") for name in report.unexpected)  # the other one
        with torch.no_grad():
            for mine, its in zip(net.double().encoder(image), encoder(image)):
                torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)
    with pytest.raises(
        ConfigError, match=r"no stem encoder\.stem\.5; there are encoder\.stem\.004, encoder\.stem\.351_0"
    ):
        load_published(network("multitalent"), published.file, stem="encoder.stem.5")


def test_another_depth_width_or_architecture_is_named(write):
    small = r"ResEnc with stages of width \(4, 8, 12\) and \(1, 2, 2\) blocks"
    deeper = r"ResEnc with stages of width \(4, 8, 12\) and \(1, 2, 3\) blocks"
    published = write("nnssl", blocks=(1, 2, 3))
    refused(network("nnssl"), published.file, rf"the weights are of {deeper}, the network is {small}\. Take weights")
    wider = write("nnssl", name="wide.pth", channels=(4, 8, 16))
    refused(network("nnssl"), wider.file, r"\(4, 8, 16\) and \(1, 2, 2\) blocks, the network is")
    longer = write("nnssl", name="long.pth", channels=(4, 8, 12, 12), strides=(1, 2, 2, 2), blocks=(1, 2, 2, 2))
    refused(network("nnssl"), longer.file, r"\(4, 8, 12, 12\) and \(1, 2, 2, 2\) blocks, the network is")
    refused(STUNet(1, 3, "S"), published.file, "the weights are of ResEnc .*, the network is STU-Net-S")
    stunet = write("stunet", base=32)
    refused(network("nnssl"), stunet.file, "the weights are of STU-Net-B, the network is ResEnc")
    refused(STUNet(1, 3, "S"), stunet.file, "of STU-Net-B, the network is STU-Net-S")
    refused(UNet(1, 1, (4, 8)), stunet.file, "of STU-Net-B, the network is UNet")
    xlstm = XLSTMUNet(1, channels=(4, 8, 12), strides=(1, 2, 2))
    refused(xlstm, published.file, "of ResEnc .*, the network is XLSTMUNet")
    save_atomically(xlstm.state_dict(), stunet.file.parent / "own.pt")
    refused(network("nnssl"), stunet.file.parent / "own.pt", "of XLSTMUNet, the network is ResEnc")


def test_channels_that_are_no_multiple(write):
    published = write("nnssl", in_channels=2)
    refused(
        network("nnssl", 3), published.file, r"checkpoint_final\.pth: weights for 2 channels cannot be repeated to 3"
    )
    weight = torch.randn(4, 2, 3, 3, 3)
    assert torch.equal(repeat_channels(weight, 4)[:, 2:] * 2, weight)


def test_published_files_are_told_from_own_ones(write, tmp_path):
    for kind, form in (("nnssl", "nnssl"), ("nnunet", "nnunet"), ("stunet", "stunet"), ("spark", "spark")):
        file = write(kind).file
        assert is_published(file)
        assert read_published(file).format == form
    save_atomically({"model": network("nnssl").state_dict()}, tmp_path / "own.pt")
    assert not is_published(tmp_path / "own.pt")
    assert not is_published(tmp_path / "missing.pt")
    assert is_published("openmind_mae")
    assert is_published("hub:MIC-DKFZ/ResEncL-OpenMind-MAE")

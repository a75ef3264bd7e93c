"""Each format: the features of the published code after loading; what does not fit is one named error."""

import logging
import pickle

import pytest
import torch

from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.networks import save_atomically
from monai_ext.networks.nets import (
    MaskedResidualEncoder,
    MaskedSTUNet,
    ResidualEncoderUNet,
    STUNet,
    UNet,
    XLSTMUNet,
)
from monai_ext.networks.published import is_published, load_published, read_published, repeat_channels

SIZES = {"channels": (4, 8, 12), "strides": (1, 2, 2), "blocks": (1, 2, 2)}
RESENC = ("nnssl", "nnunet", "plain", "safetensors")


def network(kind, channels=1, **options):
    return (
        STUNet(channels, 3, (8, 1))
        if kind in ("stunet", "spark")
        else ResidualEncoderUNet(channels, 3, **SIZES, **options)
    )


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


def refused(net, source, words, **options):
    """One error that says this; the network keeps what it has."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=words) as error:
        load_published(net, source, **options)
    assert "\n" not in str(error.value)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


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


def test_files_that_cannot_be_read(write, tmp_path, plan_file):
    published = write("nnssl").file
    cut = tmp_path / "cut.pth"
    cut.write_bytes(published.read_bytes()[: published.stat().st_size // 2])
    refused(network("nnssl"), cut, r"cut\.pth: not a checkpoint that can be read safely")
    pickled = tmp_path / "pickled.pth"
    pickled.write_bytes(pickle.dumps({"network_weights": refused}))
    refused(network("nnssl"), pickled, r"pickled\.pth: .*pickled objects, which are never loaded")
    inside = tmp_path / "inside.pth"
    torch.save({"network_weights": {"encoder.stem": torch.zeros(1)}, "trainer": ConfigError("x")}, inside)
    refused(network("nnssl"), inside, r"inside\.pth: .*pickled objects, which are never loaded")
    safe = write("safetensors").file
    safe.write_bytes(safe.read_bytes()[:1000])
    refused(network("nnssl"), safe, r"model\.safetensors: not a?\s?safetensors")
    refused(network("nnssl"), tmp_path / "none.safetensors", r"none\.safetensors: no such file")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    refused(network("nnssl"), tmp_path / "empty.pth", r"empty\.pth: holds no weights")
    refused(network("nnssl"), plan_file, r"adaptation_plan\.json: not a checkpoint")


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

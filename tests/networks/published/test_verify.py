"""The register and its command: what is listed, and whether a file is told to be read right."""

import dataclasses
import runpy
import sys

import pytest
import torch

from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.networks.nets import ResidualEncoderUNet, STUNet
from monai_ext.networks.published import REGISTER, find_architecture, find_published, load_published
from monai_ext.networks.published.verify import describe_features, phantom_volume, verify_published
from monai_ext.weights import list_published, show, verify


def test_the_register_holds_what_was_promised_and_admits_what_it_does_not_know():
    wanted = [f"stunet_{size}" for size in ("small", "base", "large", "huge")] + ["anatomask_stunet_base"]
    methods = ("mae", "s3d", "voco", "simclr", "genesis", "volume_fusion", "swinunetr")
    wanted += ["spark_stunet_base", *(f"openmind_{method}" for method in methods), "ssl3d_mae"]
    wanted += [f"missingpiece_{method}" for method in ("mae", "s3d", "genesis", "voco", "multitalent")]
    assert set(wanted) < set(REGISTER)
    fields = {field.name for field in dataclasses.fields(next(iter(REGISTER.values())))}
    for name, entry in REGISTER.items():
        assert entry.name == name
        assert set(entry.unverified) < fields
        for fact in ("architecture", "method", "learned_from", "citation", "facts_from"):
            assert getattr(entry, fact)
        for fact in ("licence", "normalization", "patch"):
            assert getattr(entry, fact) or fact in entry.unverified, f"{name}: {fact}"
        assert not entry.tried  # an entry says who read the real file, once somebody has
        assert not entry.statistics


def test_architectures_of_the_register_are_those_of_the_networks():
    with torch.device("meta"):
        built = {str(find_architecture(STUNet(size=size).state_dict())) for size in "SBLH"}
        built.add(str(find_architecture(ResidualEncoderUNet().state_dict())))
    assert {entry.architecture for entry in REGISTER.values()} == built


def test_list_and_show():
    text = list_published()
    assert all(name in text for name in REGISTER)
    shown = show("openmind_mae")
    for fact in ("CC-BY-4.0", "1 x 1 x 1 mm", "160 x 160 x 160  (unverified)", "arXiv:2412.17041", "nobody with"):
        assert fact in shown
    assert "no weights have been released" in show("spark_stunet_base")
    with pytest.raises(ConfigError, match="no published encoder 'openmind_mea'; did you mean 'openmind_mae'"):
        show("openmind_mea")


def test_the_phantom_is_the_same_everywhere():
    volume = phantom_volume()
    assert volume.shape == (1, 1, 64, 64, 64)
    assert volume.std() == pytest.approx(1, abs=1e-4)
    assert volume[0, 0, 20, 32, 44].item() == pytest.approx(1.5206542, abs=1e-6)


def stunet_small(write):
    return write("stunet", base=16).file


def test_a_file_that_is_read_right(write):
    file = stunet_small(write)
    text = verify_published(REGISTER["stunet_small"], file)
    assert "stunet, STU-Net-S" in text
    assert "matched 60, missing 0" in text
    assert "stage 5: mean" in text
    assert "read right: every parameter of the encoder matched" in text
    # What was recorded is compared with; another phantom of the same weights is found out.
    network = STUNet(1, 2, "S")
    load_published(network, file)
    seen = tuple((m, s) for m, s, _ in describe_features(network.encoder, phantom_volume()))
    entry = dataclasses.replace(REGISTER["stunet_small"], statistics=seen)
    assert "its features are the recorded ones" in verify_published(entry, file)
    wrong = dataclasses.replace(entry, statistics=((seen[0][0] + 0.1, seen[0][1]),))
    with pytest.raises(CheckpointError, match=r"stage 0 had mean .* when it was recorded"):
        verify_published(wrong, file)


@pytest.mark.parametrize("stages", [5, 6])
def test_spark_with_the_last_stage_or_without(write, stages):
    file = write("spark", base=32).file
    if stages == 5:
        content = torch.load(file, weights_only=True)
        kept = {k: v for k, v in content["network_weights"].items() if "context.5." not in k}
        torch.save({**content, "network_weights": kept}, file)
    assert f"matched {10 * stages}, missing 0" in verify_published(REGISTER["anatomask_stunet_base"], file)


def test_files_that_are_not_what_the_name_says(write, tmp_path):
    file = stunet_small(write)
    with pytest.raises(CheckpointError, match="the weights are of STU-Net-S, the network is STU-Net-B"):
        verify("stunet_base", str(file))
    with pytest.raises(CheckpointError, match="the weights are of STU-Net-S, the network is ResEnc-L"):
        verify("openmind_mae", str(file))
    torch.save({"encoder." + k: v for k, v in STUNet(1, 2, "S").encoder.state_dict().items()}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="every norm is as it starts: these weights were never trained"):
        verify("stunet_small", str(tmp_path / "new.pt"))
    content = torch.load(file, weights_only=False)
    content["state_dict"]["conv_blocks_context.2.0.norm2.weight"].fill_(float("nan"))
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="the features of stage 2 are not those of a trained network"):
        verify("stunet_small", str(file))
    del content["state_dict"]["conv_blocks_context.2.0.norm2.weight"]
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="only 59 of 60 parameters match"):
        verify("stunet_small", str(file))


def test_the_command(write, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["weights", *words])
        try:
            runpy.run_module("monai_ext.weights", run_name="__main__")
        except SystemExit as end:
            return end.code
        return 0

    file = str(stunet_small(write))
    assert [run("list"), run("show", "stunet_small"), run("verify", "stunet_small", file)] == [0, 0, 0]
    printed = capsys.readouterr().out
    assert "openmind_mae" in printed
    assert "Apache-2.0" in printed
    assert "read right" in printed
    assert run("verify", "stunet_large", file) == 4
    assert capsys.readouterr().err.startswith(f"error: {file}: the weights are of STU-Net-S, the network is STU-Net-L")
    assert run("show", "nothing") == 2


@pytest.mark.slow
def test_a_resenc_l_of_full_size_is_verified_within_a_minute(write):
    sizes = {"channels": (32, 64, 128, 256, 320, 320), "strides": (1, 2, 2, 2, 2, 2), "blocks": (1, 3, 4, 6, 6, 6)}
    text = verify_published(find_published("openmind_mae"), write("nnssl", **sizes).file)
    assert "nnssl, ResEnc-L" in text
    assert "file says: spacing [1, 1, 1]" in text

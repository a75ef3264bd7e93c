"""The register and its command: what is listed, and whether a file is told to be read right."""

import dataclasses

import pytest
import torch
from published_networks import stunet_small

from monai_ext.errors import CheckpointError
from monai_ext.networks.nets import STUNet
from monai_ext.networks.published import REGISTER, find_published, load_published
from monai_ext.networks.published.verify import describe_features, phantom_volume, verify_published
from monai_ext.weights import verify


def test_the_phantom_is_the_same_everywhere():
    volume = phantom_volume()
    assert volume.shape == (1, 1, 64, 64, 64)
    assert volume.std() == pytest.approx(1, abs=1e-4)
    assert volume[0, 0, 20, 32, 44].item() == pytest.approx(1.5206542, abs=1e-6)


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


@pytest.mark.slow
def test_a_resenc_l_of_full_size_is_verified_within_a_minute(write):
    sizes = {"channels": (32, 64, 128, 256, 320, 320), "strides": (1, 2, 2, 2, 2, 2), "blocks": (1, 3, 4, 6, 6, 6)}
    text = verify_published(find_published("openmind_mae"), write("nnssl", **sizes).file)
    assert "nnssl, ResEnc-L" in text
    assert "file says: spacing [1, 1, 1]" in text

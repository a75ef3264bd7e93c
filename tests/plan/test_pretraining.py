"""What a file or the register says of how an encoder was pretrained."""

import pytest
import torch
from published_networks import SIZES

from monai_ext.errors import CheckpointError
from monai_ext.networks.nets import ResidualEncoderUNet
from monai_ext.plan.pretraining import find_pretraining


def file_of(folder, **plan):
    configuration = {"spacing": [1, 1, 2], "normalization_schemes": ["ZScoreNormalization"], "patch_size": [96, 96, 64]}
    plan = {"pretrain_plan": {"configurations": {"x": configuration | plan}}, "key_to_encoder": "encoder.stages"}
    state = ResidualEncoderUNet(1, 2, **SIZES).state_dict()
    torch.save({"network_weights": state, "nnssl_adaptation_plan": plan}, folder / "checkpoint_final.pth")
    return folder / "checkpoint_final.pth"


def test_a_file_says_it_itself(tmp_path):
    found = find_pretraining(str(file_of(tmp_path)))
    assert (found.architecture.family, found.architecture.widths) == ("ResEnc", SIZES["channels"])
    assert (found.spacing, found.normalization, found.patch) == ((1.0, 1.0, 2.0), "z-score", (96, 96, 64))
    assert "1 x 1 x 2 mm, z-score, crops of 96 x 96 x 64 (says the file)" in str(found)
    assert find_pretraining(str(file_of(tmp_path, normalization_schemes=["CTNormalization"]))).normalization == "CT"


def test_the_register_answers_where_there_is_no_file(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = find_pretraining("openmind_mae")
    assert (str(found.architecture), found.spacing, found.patch) == ("ResEnc-L", (1.0, 1.0, 1.0), (160, 160, 160))
    assert "says the register; unverified: patch" in str(found)
    assert str(find_pretraining("stunet_large").architecture) == "STU-Net-L"
    with pytest.raises(CheckpointError, match="not in the cache, and the hub cannot be reached"):
        find_pretraining("hub:SOME/ONE")
    with pytest.raises(CheckpointError, match="no such file"):
        find_pretraining(str(tmp_path / "x.pth"))


def test_a_damaged_file_is_an_error_and_not_the_register(tmp_path):
    file = file_of(tmp_path)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="not a checkpoint that can be read safely"):
        find_pretraining(str(file))


def test_a_file_without_a_plan_names_nothing(tmp_path):
    torch.save(ResidualEncoderUNet(1, 2, **SIZES).state_dict(), tmp_path / "plain.pt")
    found = find_pretraining(str(tmp_path / "plain.pt"))
    assert (found.spacing, found.normalization, found.patch) == (None, "", None)
    assert "no spacing, intensities not known (says the file)" in str(found)

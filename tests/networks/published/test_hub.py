"""Sources: a file, a repository in a local cache laid out as the library lays it out, a name of the register."""

import sys

import pytest
import torch

from monai_ext.errors import CheckpointError, ConfigError
from monai_ext.networks.nets import ResidualEncoderUNet, STUNet
from monai_ext.networks.published import find_entry, find_file, load_published

SIZES = {"channels": (4, 8, 12), "strides": (1, 2, 2), "blocks": (1, 2, 2)}


@pytest.mark.parametrize("file", ["", "/checkpoint_final.pth"])
def test_a_repository_in_the_cache_is_read_without_a_network(write, hub, file):
    published = write("nnssl")
    path = hub("SOMEBODY/Weights", "checkpoint_final.pth", published.file)
    assert find_file(f"hub:SOMEBODY/Weights{file}") == path
    net = ResidualEncoderUNet(1, 3, **SIZES)
    assert not load_published(net, f"hub:SOMEBODY/Weights{file}").missing
    weights = torch.load(published.file, weights_only=False)["network_weights"]
    assert torch.equal(net.encoder.stem.convs[0].conv.weight, weights["encoder.stem.convs.0.conv.weight"])


def test_a_file_in_a_folder_of_a_repository(write, hub):
    file = "ResEnc-L/DKFZ_MAE/DKFZ_MAE_ResEncL.pth"
    path = hub("MIC-DKFZ/SSL3D-checkpoints", file, write("nnssl").file)
    assert find_file(f"hub:MIC-DKFZ/SSL3D-checkpoints/{file}") == path
    assert find_file("ssl3d_mae") == path
    assert find_entry(f"hub:MIC-DKFZ/SSL3D-checkpoints/{file}").name == "ssl3d_mae"
    with pytest.raises(ConfigError, match=r"holds several files; give hub:.*DKFZ_MAE_ResEncL\.pth"):
        find_file("hub:MIC-DKFZ/SSL3D-checkpoints")


def test_the_register_knows_the_file_of_a_repository(write, hub):
    path = hub("MIC-DKFZ/ResEncL-OpenMind-MAE", "checkpoint_final.pth", write("nnssl").file)
    assert find_file("openmind_mae") == find_file("hub:MIC-DKFZ/ResEncL-OpenMind-MAE") == path


def test_nothing_in_the_cache_and_no_network_says_what_to_download_where(hub):
    words = (
        r"openmind_mae: not in the cache, and the hub cannot be reached\. Where there is a network, download "
        r"https://huggingface\.co/MIC-DKFZ/ResEncL-OpenMind-MAE/resolve/main/checkpoint_final\.pth and give that file, "
        r"or run `hf download MIC-DKFZ/ResEncL-OpenMind-MAE checkpoint_final\.pth` and copy the folder of its cache to "
        rf"{hub.cache}/models--MIC-DKFZ--ResEncL-OpenMind-MAE$"
    )
    with pytest.raises(CheckpointError, match=words) as error:
        load_published(ResidualEncoderUNet(), "openmind_mae")
    assert "\n" not in str(error.value)


def test_a_network_that_does_not_answer_is_the_same_line(hub, monkeypatch):
    from huggingface_hub import constants

    nowhere = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere + "/{repo_id}/resolve/{revision}/{filename}")
    with pytest.raises(CheckpointError, match="openmind_mae: not in the cache, and the hub cannot be reached"):
        find_file("openmind_mae")


def test_without_the_library_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install 'monai-ext\[hub\]' to download it, or download https://"):
        find_file("openmind_mae")


def test_another_architecture_is_refused_before_the_download(hub):
    with pytest.raises(CheckpointError, match="openmind_mae: the weights are of ResEnc-L, the network is STU-Net-S"):
        load_published(STUNet(1, 2, "S"), "openmind_mae")
    with pytest.raises(CheckpointError, match="the weights are of STU-Net-B, the network is STU-Net-S"):
        load_published(STUNet(1, 2, "S"), "hub:ziyanhuang/STU-Net/base_ep4k.model")


def test_sources_that_name_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="its authors have released no weights"):
        find_file("anatomask_stunet_base")
    with pytest.raises(CheckpointError, match="no published encoder of this name; did you mean 'openmind_mae'"):
        find_file("openmind_mea")
    with pytest.raises(CheckpointError, match="give a path, hub:OWNER/NAME, or a name of the register"):
        find_file(tmp_path / "x.pt")
    for source in ("hub:", "hub:OWNER", "hub:OWNER/"):
        with pytest.raises(ConfigError, match="give hub:OWNER/NAME or hub:OWNER/NAME/FILE"):
            find_file(source)

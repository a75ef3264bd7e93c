import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from monai_ext.data.io.record import read_record, write_record
from monai_ext.errors import CheckpointError
from monai_ext.networks import load_weights, read_checkpoint, save_atomically
from monai_ext.networks.nets import MAEEncoder, MAESegmenter, MaskedAutoencoder, MaskedImageModel, UNet

SMALL = {"depth": 1, "embed_dim": 48, "num_heads": 4}


def test_encoder_moves_from_pretraining_to_segmentation(tmp_path):
    source, target = MaskedAutoencoder(MAEEncoder(**SMALL)), MAESegmenter(**SMALL)
    head = target.head.weight.clone()
    save_atomically(source.state_dict(), tmp_path / "pretrained.pt")
    report = load_weights(target, tmp_path / "pretrained.pt", part="encoder")
    assert not report.missing
    assert all(name.startswith(("decoder", "mask_token")) for name in report.unexpected)
    for name, value in source.encoder.state_dict().items():
        assert torch.equal(target.encoder.state_dict()[name], value)
    assert torch.equal(target.head.weight, head)


def test_encoder_alone_in_timm_names_and_another_image_size(tmp_path):
    source = MAEEncoder(img_size=64, **SMALL).state_dict() | {"cls_token": torch.zeros(1, 1, 48)}
    torch.save({"model": source}, tmp_path / "vit.pt")
    report = load_weights(MAESegmenter(**SMALL), tmp_path / "vit.pt", part="encoder")
    assert report.unexpected == ["encoder.cls_token"]


@pytest.mark.parametrize("part", ["body", "body.encoder"])
def test_the_body_of_a_network_moves_out_of_its_wrapper(tmp_path, part):
    """With as many classes as channels the head would fit too, but it must stay new."""
    features = (4, 4, 8)
    source, target = MaskedImageModel(UNet(2, 2, features), (4, 4)), UNet(2, 2, features)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    save_atomically(source.state_dict(), tmp_path / "pretrained.pt")
    report = load_weights(target, tmp_path / "pretrained.pt", part, source_part="backbone")
    assert set(report.matched) == {name for name in before if name.startswith(f"{part}.")}
    for name, value in target.state_dict().items():
        same = source.state_dict()[f"backbone.{name}"] if name in report.matched else before[name]
        assert torch.equal(value, same)
    save_atomically(source.backbone.state_dict(), tmp_path / "bare.pt")  # without the wrapper
    assert load_weights(target, tmp_path / "bare.pt", part, source_part="backbone").matched == report.matched


def test_weights_that_do_not_match_are_refused_and_nothing_is_loaded(tmp_path):
    other = MaskedAutoencoder(MAEEncoder(depth=1, embed_dim=32, num_heads=4))
    torch.save(other.state_dict(), tmp_path / "other.pt")
    net = MAESegmenter(**SMALL)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"parameters of the network under encoder\. match.*\(32,"):
        load_weights(net, tmp_path / "other.pt", part="encoder")
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL", str(tmp_path / "owned"))
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"a": Evil()}))
    torch.save({"a": Evil()}, tmp_path / "evil_zip.pt")
    for name in ("evil.pt", "evil_zip.pt"):
        with pytest.raises(CheckpointError, match="never loaded"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_damaged_and_missing_files_are_named(tmp_path):
    torch.save(nn.Linear(50, 50).state_dict(), tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"a\.pt: not a checkpoint"):
        read_checkpoint(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"b\.pt: no such file"):
        read_checkpoint(tmp_path / "b.pt")


def test_full_disk_leaves_the_old_file(tmp_path):
    """A real failed write: the process may not write files over 64 KiB."""
    path = tmp_path / "model.pt"
    save_atomically({"old": torch.zeros(3)}, path)
    code = (
        "import resource, signal, sys, torch\n"
        "from monai_ext.networks import save_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "save_atomically({'new': torch.zeros(100_000)}, sys.argv[1])\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert run.returncode != 0
    assert "CheckpointError" in run.stderr
    assert read_checkpoint(path).keys() == {"old"}
    assert os.listdir(tmp_path) == ["model.pt"]


def test_new_weights_are_not_taken_for_those_of_the_old_record(tmp_path):
    path = tmp_path / "model.pt"
    for value in (0.0, 1.0):
        save_atomically({"weight": torch.full((2, 3), value), "bias": torch.zeros(2)}, path)
        load_weights(nn.Linear(3, 2), path)
        assert read_record(path) is None
        write_record(path, {"settings": {"seed": 0}})


def test_permissions_are_those_of_any_file(tmp_path):
    save_atomically({}, tmp_path / "a.pt")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a.pt").stat().st_mode == (tmp_path / "b").stat().st_mode

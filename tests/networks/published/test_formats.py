"""Files that are read as plain tensors or refused."""

import pickle

import torch
from published_networks import network, refused

from monai_ext.errors import ConfigError

RESENC = ("nnssl", "nnunet", "plain", "safetensors")


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

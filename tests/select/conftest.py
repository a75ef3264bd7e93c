"""Small scans of two kinds, and pretrained weights of small networks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from heads import head, save
from monai.bundle import ConfigParser

ROOT = Path(__file__).parents[2] / "bundles"
SMALL = {
    "amlp": {"img_size": [32, 32], "spacing": [2.0, 2.0, 2.0], "features": [4, 8, 16], "amp": False},
    "anatomask": {
        "model_size": [4, 1], "spacing": [2.0, 2.0, 2.0], "crop_size": [16, 16, 16], "amp": False, "levels": 3,
        "organs": ["liver"], "flips": [0],
    },
}  # fmt: skip


@pytest.fixture
def scans(tmp_path):
    """Ten patients, six of kind 0 and four of kind 1, in every section; the datalist has labels, folds and more."""
    folder = tmp_path / "scans"
    folder.mkdir()
    items = []
    for number in range(12):
        save(head(int(number >= 6), number), folder / f"p{number:02d}.nii.gz")
        save((head(int(number >= 6), number) > 200).astype(np.uint8), folder / f"p{number:02d}_seg.nii.gz")
        items.append({"id": f"p{number:02d}", "fold": 1 + number % 3, "image": f"p{number:02d}.nii.gz"})
    items[5]["fold"] = items[11]["fold"] = 0
    for item in [*items[:3], items[5], *items[9:]]:
        item["label"] = item["image"].replace(".nii", "_seg.nii")
    content = {"name": "heads", "labels": {"1": "bright"}, "training": [items[0], items[5], items[9], items[11]]}
    content |= {"unlabelled": items[2:5] + items[6:9] + [items[10]], "testing": [items[1]]}
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def overlay(tmp_path):
    """``overlay(bundle)``: a file that makes its networks small."""

    def write(bundle):
        (tmp_path / f"{bundle}.json").write_text(json.dumps(SMALL[bundle]))
        return str(tmp_path / f"{bundle}.json")

    return write


@pytest.fixture
def parser(overlay):
    """``parser(bundle, **settings)``: the config of a small training."""

    def read(bundle, **settings):
        found = ConfigParser()
        found.read_config([str(ROOT / bundle / "configs/train.json"), overlay(bundle)])
        found.update({"bundle_root": str(ROOT / bundle), "device": "cpu", **settings})
        return found

    return read


@pytest.fixture
def weights(parser, tmp_path):
    """``weights(bundle, seed)``: a file with weights of the whole small network."""

    def make(bundle, seed=0):
        torch.manual_seed(seed)
        path = tmp_path / f"{bundle}{seed}.pt"
        torch.save(parser(bundle).get_parsed_content("network").state_dict(), path)
        return str(path)

    return make

"""The weights that come with the bundles."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open

from monai_ext.bundle import setting_of
from monai_ext.data.io.image_files import content_hash
from monai_ext.predict import predict

ROOT = Path(__file__).parents[1]
SHIPPED = sorted(path.relative_to(ROOT / "bundles") for path in ROOT.glob("bundles/*/weights/*/"))
SCANS = {  # of the test patients of the cards
    "hippocampus": ("hippocampus_mr", lambda root: {"image": root / "imagesTr/{id}.nii.gz"}, "labelsTr/{id}.nii.gz"),
    "sarcoma": (
        "sts_petct",
        lambda root: {"pet": root / "{id}/SUV.nii.gz", "ct": root / "{id}/CTres.nii.gz"},
        "{id}/SEG.nii.gz",
    ),
}


def test_there_are_some():
    assert {path.name for path in SHIPPED} == SCANS.keys()
    assert sum(file.stat().st_size for file in ROOT.glob("bundles/*/weights/*/*")) < 30 * 2**20


@pytest.mark.parametrize("place", SHIPPED, ids=str)
def test_card_settings_and_file_belong_together(place):
    folder = ROOT / "bundles" / place
    card = (folder / "model_card.md").read_text()
    assert card.startswith((folder / "about.md").read_text())
    assert f"sha256: {content_hash(folder / 'model.safetensors')}" in card
    assert "**Licence.**" in card
    assert "**Limits.**" in card
    assert (folder / "model.safetensors").stat().st_size <= 12 * 2**20
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert all(file.get_slice(key).get_dtype() in ("F16", "I64") for key in file.keys())  # noqa: SIM118
    known = json.loads((folder.parents[1] / "configs/train.json").read_text())
    overlay = json.loads((folder / "overlay.json").read_text())
    assert {setting_of(key) for key in overlay} - known.keys() - {"mirror"} == set()


@pytest.mark.parametrize("place", SHIPPED, ids=str)
def test_real_scans_are_segmented(place, real_data, tmp_path):
    """Two of the patients that the training never saw, each as far as the card's interval lets one hope."""
    name, images, label = SCANS[place.name]
    root = real_data(name)
    card = (ROOT / "bundles" / place / "model_card.md").read_text()
    tested = re.findall(r"`([\w-]+)`", re.search(r"Never seen: (.*)", card)[1])[:2]
    items = [{"id": id, **{key: str(path).format(id=id) for key, path in images(root).items()}} for id in tested]
    outcomes = predict(items, tmp_path, place.parts[0], weights=place.name)
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    scores = []
    for id in tested:
        truth = np.asarray(nib.load(root / label.format(id=id)).dataobj)
        found = np.asarray(nib.load(tmp_path / id / f"{id}_seg.nii.gz").dataobj)
        scores += [
            2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum())
            for k in np.unique(truth)[1:]
        ]
    assert np.mean(scores) > 0.6, scores

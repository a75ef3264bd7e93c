"""TotalSegmentator: one label file of each case from its masks, and the official split."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import load_datalist
from monai_ext.datalist.totalsegmentator import totalsegmentator
from monai_ext.errors import ConfigError, DataError

ORGANS = ["liver", "spleen", "aorta"]


@pytest.fixture
def total(tmp_path, image):
    """Five cases: the masks of each lie in other voxels; the last one overlaps liver and aorta."""
    for number in range(5):
        folder = tmp_path / f"s{number:04d}"
        image(folder / "ct.nii.gz", [40] * 5)
        for place, organ in enumerate(ORGANS):
            image(folder / "segmentations" / f"{organ}.nii.gz", np.eye(5)[place] + (number == 4) * np.eye(5)[0])
    rows = [
        "image_id;age;split",
        *(f"s{n:04d};60;{s}" for n, s in enumerate(["train", "train", "val", "test", "test"])),
    ]
    (tmp_path / "meta.csv").write_text("\n".join(rows))
    return tmp_path


def test_totalsegmentator_combines_masks_in_the_order_asked_for(total, converted, folds):
    content, _ = converted(totalsegmentator, total, organs="spleen,liver,aorta")
    assert content["labels"] == {"1": "spleen", "2": "liver", "3": "aorta"}
    assert folds(content) == {"s0000": 1, "s0001": 1, "s0002": 0}
    assert folds(content, "testing") == {"s0003": None, "s0004": None}
    label = nib.load(total / content["training"][0]["label"])
    assert label.get_data_dtype() == np.uint8
    assert np.asarray(label.dataobj)[1, 2].tolist() == [2, 1, 3, 0, 0]
    np.testing.assert_array_equal(label.affine, nib.load(total / "s0000/ct.nii.gz").affine)
    last = nib.load(total / content["testing"][1]["label"])
    assert np.asarray(last.dataobj)[1, 2].tolist() == [3, 1, 3, 0, 0]  # the later structure lies over the earlier one
    keys = ["image", "label"]
    assert len(load_datalist(total / "datalist.json", total, ["training", "testing"], required_keys=keys)) == 5


def test_totalsegmentator_takes_organs_as_fire_parses_them_and_keeps_labels_of_other_choices(total, converted):
    first, _ = converted(totalsegmentator, total, organs=("liver", "spleen"))
    second, _ = converted(totalsegmentator, total, organs=["aorta"])
    labels = [Path(content["training"][0]["label"]) for content in (first, second)]
    assert labels[0].parent != labels[1].parent
    assert all((total / label).exists() for label in labels)


def test_totalsegmentator_writes_a_label_once_and_again_when_a_mask_changed(total, converted):
    content, _ = converted(totalsegmentator, total, organs=ORGANS)
    file = total / content["training"][0]["label"]
    os.utime(file, (2e9, 2e9))
    converted(totalsegmentator, total, organs=ORGANS)
    assert file.stat().st_mtime == 2e9
    os.utime(file, (1e9, 1e9))
    converted(totalsegmentator, total, organs=ORGANS)
    assert file.stat().st_mtime > 1e9
    assert [path for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_totalsegmentator_names_every_problem_at_once(total, image, converted):
    (total / "s0000/segmentations/liver.nii.gz").unlink()
    image(total / "s0001/segmentations/aorta.nii.gz", [1], shape=(4, 6, 6))
    (total / "s0002/segmentations/spleen.nii.gz").write_bytes(b"nothing")
    (total / "s0003/ct.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)s0000.*liver.*s0001.*aorta.*grid.*s0002.*spleen.*s0003.*empty"):
        converted(totalsegmentator, total, organs=ORGANS)
    assert not (total / "datalist.json").exists()
    content, report = converted(totalsegmentator, total, organs=ORGANS, skip_incomplete=True)
    assert [len(content.get(name, [])) for name in ("training", "testing")] == [0, 1]
    assert "s0001" in report


def test_totalsegmentator_without_table_or_with_a_wrong_one_or_name(total, tmp_path, converted, folds):
    with pytest.raises(ConfigError, match="livre"):
        converted(totalsegmentator, total, organs="livre")
    with pytest.raises(ConfigError, match="below"):
        converted(totalsegmentator, total, organs=ORGANS, labels="/elsewhere")
    (total / "meta.csv").write_text("image_id;split\ns0000;train\n")
    with pytest.raises(DataError, match="4 cases"):
        converted(totalsegmentator, total, organs=ORGANS)
    (total / "meta.csv").unlink()
    content, report = converted(totalsegmentator, total, organs=ORGANS)
    assert len(set(folds(content).values())) == 5
    assert "meta.csv" in report


def test_an_empty_tree_is_an_error(tmp_path, converted):
    with pytest.raises(DataError, match="no case"):
        converted(totalsegmentator, tmp_path)

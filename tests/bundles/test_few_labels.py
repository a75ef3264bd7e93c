"""Which scans each phase sees where few of many have labels."""

import json

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from running import ROOT

from monai_ext.data import patients_of

KEYS = {
    "prostate_mae": ("t2w", "adc", "hbv", "gland"),
    "amlp": ("flair",),
    "anatomask": ("image",),
    "autopet_bixlstm": ("ct", "pet"),
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """45 patients in folds 1 and 2 and two in fold 0; five of the former and these two have a label."""
    folder = tmp_path_factory.mktemp("scans")
    keys = dict.fromkeys(key for keys in KEYS.values() for key in keys)

    def scan(name, **more):
        voxels = np.random.default_rng(list(name.encode())).integers(1, 255, (4, 4, 4), dtype=np.uint8)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii.gz")
        return {"id": name, **dict.fromkeys([*keys, *more.pop("masks", ())], f"{name}.nii.gz"), **more}

    labelled = [scan(f"labelled{i}", fold=i % 2 + 1, masks=["label"]) for i in range(5)]
    held_out = [scan(f"held{i}", fold=0, masks=["label"]) for i in range(2)]
    unlabelled = [scan(f"unlabelled{i}") for i in range(40)]
    datalist = {"training": labelled + held_out, "unlabelled": unlabelled}
    (folder / "datalist.json").write_text(json.dumps(datalist))
    return folder


def patients(bundle, phase, scans, **settings):
    parser = ConfigParser()
    parser.read_config(str(ROOT / f"bundles/{bundle}/configs/{phase}.json"))
    parser.update({"dataset_dir": str(scans), "datalist": str(scans / "datalist.json"), **settings})
    return sorted(patients_of(parser.get_parsed_content("train#dataset#data")))


@pytest.mark.parametrize("bundle", KEYS)
def test_pretraining_sees_all_scans_and_fine_tuning_those_with_labels(bundle, scans):
    assert len(patients(bundle, "pretrain", scans)) == 45
    assert patients(bundle, "train", scans) == [f"labelled{i}" for i in range(5)]
    two = patients(bundle, "train", scans, num_labelled=2)
    assert len(two) == 2
    assert two == patients(bundle, "train", scans, num_labelled=2, seed=5)  # a seed of its own draws them
    draws = {tuple(patients(bundle, "train", scans, num_labelled=2, label_seed=seed)) for seed in range(8)}
    assert len(draws) > 3


def test_masking_knows_the_lesions_of_the_drawn_patients_only(scans):
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles/prostate_mae/configs/pretrain.json"))
    parser.update({"dataset_dir": str(scans), "datalist": str(scans / "datalist.json"), "num_labelled": 2})
    items = parser.get_parsed_content("train#dataset#data")
    known = sorted(patients_of([item for item in items if item.get("label")]))
    assert known == patients("prostate_mae", "train", scans, num_labelled=2)
    assert len(items) == 45
    assert all("gland" in item for item in items)  # every other file stays

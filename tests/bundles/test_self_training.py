"""Self-training after the training, in every bundle that segments: what it sees, and what it never sees."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from running import ROOT, run_bundle

from monai_ext.data import patients_of, phantom
from monai_ext.data.io.record import patients_behind, read_record
from monai_ext.networks import read_checkpoint
from monai_ext.phases.chain import later_phases
from monai_ext.phases.later import LaterPhase

KEYS = {
    "prostate_mae": ("t2w", "adc", "hbv", "gland"),
    "amlp": ("flair",),
    "anatomask": ("image",),
    "autopet_bixlstm": ("ct", "pet"),
}


def later(bundle, **settings):
    parser = ConfigParser()
    parser.read_config(str(ROOT / f"bundles/{bundle}/configs/train.json"))
    parser.update(settings)
    return LaterPhase(parser, "self_train")


@pytest.mark.parametrize("bundle", KEYS)
def test_it_is_off_until_it_is_asked_for(bundle):
    train = json.loads((ROOT / f"bundles/{bundle}/configs/train.json").read_text())
    assert later_phases(train) == ["self_train"]
    assert train["self_train"] == {}
    assert later(bundle).get("wanted", True) is False
    assert later(bundle, semi_supervised=True).get("wanted", False) is True
    row = json.loads((ROOT / f"bundles/{bundle}/configs/variants/self_trained.json").read_text())
    assert row["semi_supervised"] is True


@pytest.mark.parametrize("bundle", KEYS)
def test_the_last_phase_that_is_wanted_makes_the_model(bundle, tmp_path):
    """So whoever evaluates, predicts or serves need not know which phase that was."""
    alone = later(bundle, run_dir=str(tmp_path)).parser
    followed = later(bundle, run_dir=str(tmp_path), semi_supervised=True)
    assert alone.get_parsed_content("product") == str(tmp_path / "models/model.pt")
    assert followed.parser.get_parsed_content("product") == str(tmp_path / "models/supervised.pt")
    assert followed.get("product", None) == str(tmp_path / "models/model.pt")
    assert alone.get()["train"]["handlers"][2]["weights"] == "@product"


@pytest.mark.parametrize("bundle", KEYS)
def test_it_starts_from_the_trained_network_and_judges_its_average(bundle, tmp_path):
    found = later(bundle, device="cpu", bundle_root=str(ROOT / "bundles" / bundle), run_dir=str(tmp_path))
    config = found.config.get()
    loader, run = config["train"]["handlers"][1:]
    assert (loader["path"], loader["network"]) == ("@supervised", "@network")
    assert run["objects"] == {"network": "$@ema.teacher", "student": "@network"}
    assert (run["weights"], run["weights_at_end"]) == ("@product", True)
    assert config["validate"]["evaluator"]["network"] == "$@ema.teacher"
    assert found.get("output_dir", None) == str(tmp_path / "output/self_train")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Five patients with labels and six without to learn from, two of the validation fold, and two test patients."""
    folder = tmp_path_factory.mktemp("scans")

    def scan(name, **more):
        voxels = np.random.default_rng(list(name.encode())).integers(1, 255, (4, 4, 4), dtype=np.uint8)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii.gz")
        keys = dict.fromkeys([key for keys in KEYS.values() for key in keys] + ["label"], f"{name}.nii.gz")
        return {"id": name, **keys, **more}

    training = [scan(f"train{i}", fold=i % 2 + 1) for i in range(5)] + [scan(f"held{i}", fold=0) for i in range(2)]
    others = [scan(f"other{i}") for i in range(6)]
    datalist = {"training": training, "unlabelled": others, "testing": [scan(f"test{i}") for i in range(2)]}
    (folder / "datalist.json").write_text(json.dumps(datalist))
    return folder


@pytest.mark.parametrize("drawn", [{}, {"num_labelled": 2}, {"label_fraction": 0.4, "label_seed": 3}])
@pytest.mark.parametrize("bundle", KEYS)
def test_it_sees_no_label_but_the_drawn_ones_and_no_held_out_or_test_patient(bundle, scans, drawn):
    settings = {"dataset_dir": str(scans), "datalist": str(scans / "datalist.json"), **drawn}
    found = later(bundle, **settings)
    labelled = found.config.get_parsed_content("train#dataset#data")
    unlabelled = found.config.get_parsed_content("loader#unlabelled#data")
    patients = [set(patients_of(items)) for items in (labelled, unlabelled)]
    assert patients[0] | patients[1] == {f"train{i}" for i in range(5)} | {f"other{i}" for i in range(6)}
    assert not patients[0] & patients[1]
    assert len(patients[0]) == (2 if drawn else 5)
    assert not any("label" in item for item in unlabelled)


# What makes a run of all phases a matter of seconds, beside the demo.
SHORT = {"max_epochs": 2, "val_interval": 2, "num_workers": 0, "pretrained": "null", "self_train#max_epochs": 2}
SMALL = {
    "amlp": {**SHORT, "iterations": 4, "batch_size": 4, "num_labelled": 2},
    "anatomask": {**SHORT, "num_crops": 4, "num_labelled": 2},
}
PHANTOMS = {"amlp": "brain_mr", "anatomask": "ct_multiorgan"}


def run(bundle, run_id, folder, **settings):
    configs = ROOT / "bundles" / bundle / "configs"
    options = SMALL[bundle] | {"semi_supervised": "true", "run_dir": folder} | settings
    return run_bundle(run_id, configs / "train.json", configs / "demo.json", cwd=folder.parent, **options)


@pytest.fixture(scope="module", params=PHANTOMS)
def trained(request, tmp_path_factory):
    """A bundle and the folder of its whole chain."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    run(request.param, "training", folder)
    return request.param, folder


@pytest.mark.slow
def test_the_chain_goes_on_from_the_trained_network(trained):
    bundle, folder = trained
    model, last = (read_checkpoint(folder / f"models/{name}.pt") for name in ("supervised", "model"))
    assert model.keys() == last.keys()
    moved = [name for name, value in model.items() if not torch.equal(value, last[name])]
    assert moved
    record = read_record(folder / "models/model.pt")
    roles = {role: set(patients) for role, patients in record["patients"].items()}
    assert set(roles) == {"train", "unlabelled", "validation"}
    assert len(roles["train"]) == 2
    assert roles["unlabelled"]
    assert not roles["validation"] & (roles["train"] | roles["unlabelled"])
    assert patients_behind(folder / "models/model.pt") == roles["train"] | roles["unlabelled"]
    report = json.loads((folder / "output/self_train/report.json").read_text())
    assert report["phase"] == "self-training"
    assert report["data"]["unlabelled"]["cases"] >= len(roles["unlabelled"])
    evaluate = ROOT / "bundles" / bundle / "configs/evaluate.json"
    run_bundle("evaluating", evaluate, evaluate.with_name("demo.json"), cwd=folder.parent, run_dir=folder)
    assert json.loads((folder / "output/evaluate/report.json").read_text())["metrics"]


@pytest.mark.slow
def test_poisoned_labels_of_patients_that_were_not_drawn_change_nothing(trained, tmp_path):
    """Their files hold a lesion everywhere; a run that read one of them would end at other weights."""
    bundle, folder = trained
    data = tmp_path / "data"
    shutil.copytree(phantom(PHANTOMS[bundle]), data)
    drawn = set(read_record(folder / "models/model.pt")["patients"]["train"])
    datalist = json.loads((data / "datalist.json").read_text())
    others = [item for item in datalist["training"] if item["fold"] != 0 and item["id"] not in drawn]
    assert others
    for item in others:
        label = nib.load(data / item["label"])
        nib.save(nib.Nifti1Image(np.ones(label.shape, np.uint8), label.affine), data / item["label"])
    run(bundle, "training", tmp_path / "run", dataset_dir=data)
    for name in ("supervised", "model"):
        clean, same = (read_checkpoint(place / f"models/{name}.pt") for place in (folder, tmp_path / "run"))
        assert all(torch.equal(value, same[key]) for key, value in clean.items()), name


@pytest.mark.slow
def test_the_phase_runs_alone_and_says_what_it_starts_from(tmp_path):
    result = run("amlp", "self_training", tmp_path / "run", check=False)
    assert result.returncode != 0
    assert "models/supervised.pt: no such file" in result.stderr
    run("amlp", "run", tmp_path / "run")
    run("amlp", "self_training", tmp_path / "run")
    assert (tmp_path / "run/models/model.record.json").is_file()

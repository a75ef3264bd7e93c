"""Resuming and reusing what another run made: refused by name; of the same run: accepted."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from fault_subjects import DataSet

from monai_ext.data.io.record import read_record, record_file

# A setting of the architecture, and one that says how the bundle's method works, with what the error names.
ARCHITECTURE = {
    "prostate_mae": ("network_def#depth", 2, "network_def#depth"),
    "amlp": ("features", "[4,8,8,8,16]", "features"),
    "anatomask": ("model_size", "[8,1]", "model_size"),
    "autopet_bixlstm": ("channels", "[4,8,16]", "channels"),
    "adunet_anomaly": ("network_def#channels", "[4,8,16]", "network_def#channels"),
}
METHOD = {
    "prostate_mae": ("frozen_epochs", 1),
    "amlp": ("slices", "nonblack"),
    "anatomask": ("label_fraction", 0.5),
    "autopet_bixlstm": ("foreground", 0.5),
    "adunet_anomaly": ("scheme", "insample"),
}


@pytest.fixture(scope="session")
def begun(subject, bundle_in, small, tmp_path_factory):
    """A training of two epochs that was killed after its first."""
    folder = tmp_path_factory.mktemp(f"begun_{subject.name}")
    bundle, dataset = bundle_in(folder), DataSet(small, folder / "data")
    assert bundle.train_and_kill(dataset, epochs=2).returncode == -signal.SIGKILL
    return bundle, dataset


@pytest.fixture
def begun_copy(begun, tmp_path):
    """A copy of it to resume."""
    bundle, dataset = begun
    out = tmp_path / "out"
    shutil.copytree(bundle.folder / "out", out)
    return bundle, dataset, {"output_dir": out, "model": out / "model.pt", "resume": True, "max_epochs": 2}


def saved(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.pt")}


@pytest.mark.row(52)
@pytest.mark.parametrize("change", ["seed", "fold", "method", "architecture", "datalist", "file"])
def test_resume_of_another_run_is_refused_by_name(begun_copy, subject, tmp_path, change):
    bundle, dataset, where = begun_copy
    before = saved(where["output_dir"])
    data, named = dataset, change
    if change == "seed":
        where, named = where | {"seed": 7}, "seed was 0, is 7"
    elif change == "fold":
        where, named = where | {"val_fold": dataset.case["fold"]}, "val_fold was 0, is"
    elif change == "method":
        key, value = METHOD[subject.name]
        where, named = where | {key: value}, f"{key} was"
    elif change == "architecture":
        key, value, named = ARCHITECTURE[subject.name]
        where = where | {key: value}
    else:
        data = type(dataset)(dataset.root, tmp_path / "data")
        if change == "datalist":
            gone = data.sections["testing"].pop()
            data.save()
            named = f"case {gone['id']} of section testing is gone"
        else:
            data.array(subject.first, lambda voxels: np.where(voxels > voxels.mean(), voxels * 0.9, voxels))
            named = f"case {data.case['id']} of section training has changed"
    bundle.train(data, where).assert_error(2, where["output_dir"] / "last.pt", "is of another run", named, "--run_dir")
    assert saved(where["output_dir"]) == before


@pytest.mark.row(52)
@pytest.mark.parametrize("change", ["none", "place", "copied data", "workers", "words", "touched"])
def test_resume_of_the_same_run_is_accepted(begun_copy, tmp_path, change):
    bundle, dataset, where = begun_copy
    data = dataset
    if change == "copied data":
        shutil.copytree(dataset.root, tmp_path / "copy")
        data = type(dataset)(tmp_path / "copy", tmp_path / "data")
    elif change == "workers":
        where = where | {"num_workers": 1}
    elif change == "words":
        where = where | {"seed": 0, "val_fold": 0}
    elif change == "touched":
        for path in dataset.root.rglob("*.nii.gz"):
            os.utime(path.resolve())
    elif change == "place":
        shutil.move(where["output_dir"], tmp_path / "moved")
        where = where | {"output_dir": tmp_path / "moved", "model": tmp_path / "moved/model.pt"}
    run = bundle.train(data, where)
    assert run.returncode == 0, run.output[-3000:]
    assert "going on after step" in run.output
    record = read_record(where["model"])
    taught = set(record["patients"]["train"])  # without those that taught a generator of maps
    assert taught
    assert taught <= {str(item["id"]) for item in dataset.sections["training"][:2]}


@pytest.mark.row(52)
@pytest.mark.only_for(lambda subject: "pretrained" in subject.train, "bundles whose training starts from other weights")
def test_resume_from_other_pretrained_weights_is_refused(bundle, dataset, tmp_path):
    start = tmp_path / "start.pt"
    shutil.copy(bundle.weights, start)
    settings = {"pretrained": start, "max_epochs": 2}
    begun = bundle.train(dataset, settings, kill_when=(tmp_path / "out/last.pt").exists)
    assert begun.returncode == -signal.SIGKILL, begun.output[-3000:]
    before = saved(tmp_path / "out")
    weights = torch.load(start, weights_only=True)
    torch.save({name: value * 1.5 if value.is_floating_point() else value for name, value in weights.items()}, start)
    named = "pretrained is another file, or has another content"
    bundle.train(dataset, settings | {"resume": True}).assert_error(2, "is of another run", named, "--run_dir")
    assert saved(tmp_path / "out") == before


@pytest.mark.row(53)
def test_weights_that_learned_from_the_patients_they_are_judged_on(begun_copy, tmp_path):
    bundle, dataset, where = begun_copy
    assert bundle.train(dataset, where).returncode == 0
    out = {"model": where["model"], "section": "training", "output_dir": tmp_path / "evaluate"}
    taught = read_record(where["model"])["patients"]["train"]
    refused = bundle.evaluate(dataset, out)
    refused.assert_error(
        2, f"model has learned from {len(taught)} of the 3 patients it is judged on", taught[0], "--allow_seen true"
    )
    assert not (tmp_path / "evaluate/report.json").exists()
    allowed = bundle.evaluate(dataset, out | {"allow_seen": True})
    assert allowed.returncode == 0, allowed.output[-3000:]
    assert f"trained on {len(taught)} patients ({', '.join(taught)})" in allowed.output
    assert json.loads((tmp_path / "evaluate/report.json").read_text())["seen_before"] == {"model": taught}
    assert bundle.evaluate(dataset, out | {"section": "testing"}).returncode == 0
    record_file(where["model"]).unlink()
    unknown = bundle.evaluate(dataset, out)
    assert unknown.returncode == 0
    assert "what it was trained on is unknown" in unknown.output


@pytest.mark.row(53)
@pytest.mark.only_for(lambda subject: "pretrained" in subject.train, "bundles whose training starts from other weights")
def test_pretrained_weights_that_learned_from_the_validation(begun, tmp_path):
    bundle, dataset = begun
    other = tmp_path / "other.pt"
    shutil.copy(bundle.weights, other)
    patients = {"train": [str(item["id"]) for item in dataset.sections["training"]]}
    record_file(other).write_text(json.dumps({"version": "0", "settings": {"val_fold": 1}, "patients": patients}))
    out = {"pretrained": other, "output_dir": tmp_path / "out", "model": tmp_path / "out/model.pt"}
    named = "pretrained has learned from 1 of the 1 patients it is judged on"
    bundle.train(dataset, out).assert_error(2, named, "--allow_seen true")
    assert not (tmp_path / "out/model.pt").exists()


@pytest.mark.row(27)
@pytest.mark.parametrize("lost", ["model.pt", "model.record.json", "report.json", "report.html"])
def test_what_a_finished_run_lacks_is_written_again(begun_copy, lost):
    bundle, dataset, where = begun_copy
    assert bundle.train(dataset, where).returncode == 0
    out = where["output_dir"]
    listed, before = sorted(p.name for p in out.glob("[!e]*")), (out / "model.pt").read_bytes()
    (out / lost).unlink()
    again = bundle.train(dataset, where)
    assert again.returncode == 0, again.output[-3000:]
    assert listed == sorted(p.name for p in out.glob("[!e]*"))
    assert (out / "model.pt").read_bytes() == before
    finished = bundle.train(dataset, where)
    assert finished.returncode == 0
    assert "this run is finished" in finished.output


@pytest.mark.row(33)
@pytest.mark.parametrize("key", ["model", "output_dir"])
def test_two_runs_that_write_one_thing(begun, tmp_path, key):
    """Each has all else for itself."""
    bundle, dataset = begun
    one, two = ({"output_dir": tmp_path / n / "out", "model": tmp_path / n / "model.pt"} for n in "ab")
    two[key] = one[key]
    words = [bundle.words("run", "train.json", bundle.training(dataset) | where) for where in (one, two)]
    runs = bundle.command.together(words)
    assert sorted(run.returncode for run in runs) == [0, 2], [run.output[-1000:] for run in runs]
    loser = max(runs, key=lambda run: run.returncode)
    loser.assert_error(2, f"another run is writing to {one[key]} (process", "since 2", "--run_dir")

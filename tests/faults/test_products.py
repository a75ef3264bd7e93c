"""Products of earlier phases: used again where the same settings and patients made them, refused where others did."""

import json
import os
import shutil
import signal

import pytest
from test_interrupted_chain import CHAINS
from test_kill import PHASES

from monai_ext.data import MapProvenance


@pytest.fixture
def chain(bundle, dataset, tmp_path):
    """``chain(**settings)``: the whole method of a bundle, small, in a folder of its own."""
    overlay = tmp_path / "chain.json"
    overlay.write_text(json.dumps({**bundle.subject.overlay, **CHAINS[bundle.subject.name]}))
    files = repr([str(bundle.subject.config("train.json")), str(overlay)])

    def run(**settings):
        where = bundle.data(dataset) | {"run_dir": tmp_path / "run"} | settings
        words = [word for key, value in where.items() for word in (f"--{key}", value)]
        return bundle.command("-m", "monai.bundle", "run", "training", "--config_file", files, *words)

    return run


@pytest.mark.row(27, 38)
@pytest.mark.only_for(lambda subject: "pretrained" in subject.train, "bundles whose training starts from other weights")
def test_products_of_other_runs_are_refused_and_lost_ones_are_made_again(chain, dataset, tmp_path):
    first = chain(resume=True)
    assert first.returncode == 0, first.output[-3000:]
    pretrained, model = tmp_path / "run/models/pretrained.pt", tmp_path / "run/models/model.pt"
    before, trained = pretrained.read_bytes(), model.read_bytes()
    longer = chain(max_epochs=3)
    longer.assert_error(2, f"{model} was made by another training: max_epochs was 2, is 3", "--run_dir")
    assert model.read_bytes() == trained
    other = {"output_dir": tmp_path / "other", "model": tmp_path / "other/model.pt"}
    refused = chain(**other, val_fold=dataset.case["fold"])
    refused.assert_error(2, f"{pretrained} was made by another pretrain: val_fold was 0, is", "--run_dir")
    assert not (tmp_path / "other/model.pt").exists()
    assert pretrained.read_bytes() == before
    pretrained.unlink()
    again = chain(**other, resume=True)
    assert again.returncode == 0, again.output[-3000:]
    assert f"pretrain comes first: it makes {pretrained}" in again.output
    assert pretrained.read_bytes() == before


@pytest.mark.row(52)
@pytest.mark.only_for(lambda subject: subject.name == "adunet_anomaly")
def test_a_generator_that_saw_all_patients_is_not_resumed_as_one_that_did_not(bundle, dataset, tmp_path):
    _, file, run_id, weights, small = PHASES["GAN"]
    out = {"output_dir": tmp_path / "out", weights: tmp_path / "adc.pt", "cache_dir": tmp_path / "cache"}
    given = small | {"dataset_dir": dataset.root, "datalist": dataset.path, "max_epochs": 4, "bare_scans": False} | out

    def run(scheme, resume=False, **options):
        words = [word for key, value in given.items() for word in (f"--{key}", value)]
        words += ["--scheme", scheme, "--resume", resume]
        config = bundle.subject.config(file)
        return bundle.command("-m", "monai.bundle", "run", run_id, "--config_file", config, *words, **options)

    killed = run("insample", kill_when=(tmp_path / "out/last.pt").exists)
    assert killed.returncode == -signal.SIGKILL, killed.output[-3000:]
    named = 'scheme was "insample", is "excluded"'
    run("excluded", resume=True).assert_error(2, tmp_path / "out/last.pt", "is of another run", named)
    assert not (tmp_path / "adc.pt").exists()
    assert not (tmp_path / "adc.json").exists()
    assert run("insample", resume=True).returncode == 0
    taught = json.loads((tmp_path / "adc.json").read_text())["training_patients"]
    assert taught == sorted(str(item["patient"]) for item in dataset.sections["training"])


@pytest.mark.row(53)
@pytest.mark.only_for(lambda subject: subject.name == "adunet_anomaly")
@pytest.mark.parametrize("file", ["train.json", "inference.json"])
def test_a_map_of_unknown_or_leaking_origin_is_refused_whichever_it_is(bundle, dataset, tmp_path, file):
    """The label itself as the map of the second modality: it would tell the truth."""
    cases = [item for section in dataset.sections.values() for item in section]

    def learned_from(key, *patients):
        for item in cases:
            origin = MapProvenance(item["patient"], "generator", patients or (item["patient"],))
            origin.write(dataset.file(key, item))

    for key in ("t2w_map", "adc_map"):
        for item in cases:
            item[key] = item["label"].replace("label", key)
            shutil.copy(os.path.realpath(dataset.file("label", item)), dataset.file(key, item))
    dataset.save()
    learned_from("t2w_map", "somebody else")
    maps = {"map_modalities": "['t2w','adc']", "scheme": "external"}

    def run():
        if file == "train.json":
            return bundle.train(dataset, maps)
        item = {key: str(dataset.root / path) for key, path in dataset.case.items() if str(path).endswith(".nii.gz")}
        item = {key: path for key, path in item.items() if key != "label"}
        return bundle.infer({"id": dataset.case["id"], "patient": dataset.case["patient"]} | item, maps)

    own = dataset.file("adc_map")
    run().assert_error(3, f"case {dataset.case['id']}", own, "the anomaly map has no provenance beside it")
    learned_from("adc_map")
    run().assert_error(3, f"case {dataset.case['id']}", own, "the map leaks", "was trained on this patient")
    bundle.assert_nothing_written()
    learned_from("adc_map", "somebody else")
    if file == "train.json":  # nothing else was wrong
        assert run().returncode == 0

"""The command line as a user meets it, on a tiny bundle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import commands
import monai.bundle
import pytest
import torch

from monai_ext.bundle import config_files
from monai_ext.errors import ConfigError
from monai_ext.networks.nets import UNet

CONFIG = {
    "imports": ["$import monai_ext"],
    "bundle_root": "$monai_ext.bundle.find_root('tiny')",
    "output_dir": "$@bundle_root + '/output'",
    "dataset_dir": "data",
    "train": {"epochs": 3},
    "lr": 0.1,
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$torch.nn.Linear(2, 2).parameters()", "lr": "@lr"},
    "phases": ["prepare"],
    "prepare": {},
    "flag": True,
    "count": 3,
    "initialize": "$monai_ext.phases.start()",
    "run": "$print('ran in', @bundle_root, 'lr', @optimizer.param_groups[0]['lr'], 'flag', @flag, 'count', @count)",
    "training": ["$monai_ext.phases.run_earlier()", "@run"],
}
PREPARE = {
    "imports": ["$import monai_ext", "$import monai_ext.data.io.record", "$import pathlib"],
    "bundle_root": CONFIG["bundle_root"],
    "output_dir": "$@bundle_root + '/output/prepare'",
    "made": "$@bundle_root + '/made.txt'",
    "product": "@made",
    "lr": 0.5,
    "flag": True,
    "depth": 2,
    "initialize": "$monai_ext.phases.start()",
    "write": "$pathlib.Path(@made).write_text('made')",
    "record": "$monai_ext.data.io.record.write_record(@made, monai_ext.bundle.running_record())",
    "run": ["$print('prepared with flag', @flag, 'depth', @depth, 'lr', @lr)", "@write", "@record"],
}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "bundles" / "tiny" / "configs"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text("{}")
    (folder / "train.json").write_text(json.dumps(CONFIG))
    (folder / "prepare.json").write_text(json.dumps(PREPARE))
    (folder / "overlay.json").write_text(json.dumps({"lr": 0.3}))
    (folder / "helper.json").write_text(json.dumps({"factor": 2, "lr": "$@factor * 0.1"}))
    (folder / "typo.json").write_text(json.dumps({"ouptut_dir": "elsewhere"}))
    return tmp_path


def command(cwd, *arguments, config="bundles/tiny/configs/train.json", run=()):
    words = ["-m", "monai.bundle", "run", *run, "--config_file", config, *arguments]
    return commands.run(*words, cwd=cwd, timeout=120)


def test_bundle_is_found_from_the_root_from_inside_and_from_elsewhere(root, tmp_path_factory):
    bundle = root / "bundles" / "tiny"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for cwd, config in [
        (root, "bundles/tiny/configs/train.json"),
        (bundle, "configs/train.json"),
        (elsewhere, str(bundle / "configs/train.json")),
    ]:
        run = command(cwd, config=config)
        assert f"ran in {bundle} lr 0.1" in run.stdout, run.stderr
    assert not os.listdir(elsewhere)


def test_bundle_that_is_nowhere_is_an_error_that_lists_what_was_tried(root):
    other = root / "train.json"
    other.write_text(json.dumps(CONFIG))
    run = command(root.parent, config=str(other))
    assert run.returncode == 2
    assert "error: cannot find the bundle tiny: tried" in run.stderr
    assert "--bundle_root" in run.stderr
    run = command(root.parent, "--bundle_root", str(root / "bundles/tiny"), config=str(other))
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("override", "hint"),
    [(["--datset_dir", "x"], "'dataset_dir'"), (["--train#epoch", "1"], "'train#epochs'"), (["--zzz=1"], "'zzz'")],
)
def test_misspelt_override_stops_the_run(root, override, hint):
    run = command(root, *override)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert hint in run.stderr
    assert "ran in" not in run.stdout


def test_overrides_overlays_and_arguments_of_a_target_are_known(root):
    files = "['bundles/tiny/configs/train.json','bundles/tiny/configs/{}.json']"
    for arguments, config in [
        (["--lr", "0.3"], "bundles/tiny/configs/train.json"),
        (["--optimizer#momentum", "0.5", "--lr", "0.3"], "bundles/tiny/configs/train.json"),
        ([], files.format("overlay")),
    ]:
        run = command(root, *arguments, config=config)
        assert "lr 0.3" in run.stdout, run.stderr
    assert "lr 0.2" in command(root, config=files.format("helper")).stdout
    run = command(root, config=files.format("typo"))
    assert run.returncode == 2
    assert "'output_dir'" in run.stderr


def test_overlay_may_hold_keys_of_the_other_configs_but_not_the_command_line(root):
    folder = root / "bundles/tiny/configs"
    (folder / "evaluate.json").write_text(json.dumps({"imports": CONFIG["imports"], "model": "x", "run": "$0"}))
    (folder / "overlay.json").write_text(json.dumps({"lr": 0.3, "model": "y"}))
    files = "['bundles/tiny/configs/train.json','bundles/tiny/configs/overlay.json']"
    assert "lr 0.3" in command(root, config=files).stdout
    run = command(root, "--model", "y")
    assert run.returncode == 2
    assert "'model'" in run.stderr
    (folder / "overlay.json").write_text(json.dumps({"modle": "y"}))
    assert command(root, config=files).returncode == 2
    (folder / "overlay.json").write_text(json.dumps({"finalize": "$print('the end')"}))
    assert "the end" in command(root, config=files).stdout


def test_args_file_is_checked_too(root):
    (root / "args.json").write_text(json.dumps({"config_file": "bundles/tiny/configs/train.json", "lrr": 3}))
    run = commands.run("-m", "monai.bundle", "run", "--args_file", "args.json", cwd=root)
    assert run.returncode == 2
    assert "'lrr'" in run.stderr


def test_second_run_in_one_output_folder_stops(root):
    (root / "bundles/tiny/output").mkdir(parents=True)
    code = (
        "import sys, time; from monai_ext.data.io.claim import claim\n"
        "claim(sys.argv[1]); claim(sys.argv[1])\n"
        "print('claimed', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(root / "bundles/tiny/output")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout.readline() == "claimed\n"
        run = command(root)
        assert run.returncode == 2
        assert "another run is writing to" in run.stderr
    finally:
        first.kill()
        first.wait()
    assert command(root).returncode == 0


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX")
def test_output_that_cannot_be_written_is_an_error_before_any_work(root):
    (root / "file").write_text("")
    run = command(root, "--output_dir", str(root / "file" / "output"))
    assert run.returncode == 2
    assert "cannot write to" in run.stderr
    assert "ran in" not in run.stdout


@pytest.mark.parametrize("word", ["false", "no", "0", "off", "False"])
def test_words_for_false_are_false(root, word):
    assert "flag False" in command(root, "--flag", word).stdout


def test_a_phase_gets_what_both_name_and_what_is_addressed_to_it(root):
    run = command(root, "--flag", "no", "--prepare#depth", "5", "--lr", "0.3", run=["training"])
    assert "prepared with flag False depth 5 lr 0.5" in run.stdout, run.stderr  # a rate is each phase's own
    assert "lr 0.3 flag False" in run.stdout
    again = command(root, "--flag", "no", "--prepare#depth", "5", "--lr", "0.2", run=["training"])
    assert "prepared with" not in again.stdout
    other = command(root, "--flag", "no", "--prepare#depth", "6", run=["training"])
    assert other.returncode == 2
    assert "depth was 5, is 6" in other.stderr
    assert "ran in" not in other.stdout


def test_run_ids(root):
    for word, hint in (("train", "'training'"), ("trainning", "'training'"), ("runn", "'run'"), ("lr", "there are")):
        run = command(root, run=[word])
        assert run.returncode == 2, word
        assert "Traceback" not in run.stderr
        assert hint in run.stderr


def test_monai_loads_a_bundle_that_lies_anywhere(tmp_path, monkeypatch):
    """Its config finds its own folder, and neither the working directory nor the repository's bundle of that name."""
    source = Path(__file__).parents[1] / "bundles/amlp/configs"
    configs = tmp_path / "downloads/amlp/configs"
    configs.mkdir(parents=True)
    config = json.loads((source / "inference.json").read_text())
    config |= {"features": [4, 8, 8, 8, 8], "modalities": "$['flair'] if 'downloads' in @bundle_root else []"}
    (configs / "inference.json").write_text(json.dumps(config))
    (configs / "metadata.json").write_text((source / "metadata.json").read_text())
    network = UNet(1, 2, features=config["features"])
    (configs.parent / "models").mkdir()
    torch.save(network.state_dict(), configs.parent / "models/model.pt")
    monkeypatch.chdir(tmp_path)
    found = monai.bundle.load("amlp", bundle_dir=tmp_path / "downloads", workflow_type="inference")
    for name, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_overlays_are_beside_the_config_or_variants_or_files(tmp_path, monkeypatch):
    configs = tmp_path / "configs"
    (configs / "variants").mkdir(parents=True)
    for path in (configs / "demo.json", configs / "variants/row.json", tmp_path / "plan.json"):
        path.write_text("{}")
    monkeypatch.chdir(tmp_path)
    files = [configs / "train.json", configs / "demo.json", configs / "variants/row.json", tmp_path / "plan.json"]
    assert config_files(tmp_path, "train", ["demo", "row", "plan.json"]) == list(map(str, files))
    with pytest.raises(ConfigError, match="did you mean 'row'"):
        config_files(tmp_path, "train", ["roww"])

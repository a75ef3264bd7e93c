"""The list of settings: each of each phase once, and what phases share with the training only."""

import json
import re
from pathlib import Path

import pytest

from monai_ext.errors import ConfigError
from monai_ext.options import PARTS, list_settings, options
from monai_ext.phases.chain import OWN, earlier_phases, runnable_ids

BUNDLES = ["adunet_anomaly", "amlp", "anatomask", "autopet_bixlstm", "prostate_mae"]


def listed(text):
    """Options by the phase under which they stand."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+): ", line):
            names = found.setdefault(match[1], [])
        elif match := re.match(r"  --(\S+)", line):
            names.append(match[1])
    return found


def settings(config):
    """Top-level names of a config that hold a value, found without the code under test."""
    phases, work = {*config.get("phases", ()), *config.get("later", ())}, set(runnable_ids(config))
    return [
        name
        for name, value in config.items()
        if not (name.startswith("_") or name in PARTS or name in phases or name in work)
        and not (isinstance(value, dict) and "_target_" in value)
    ]


@pytest.fixture(params=BUNDLES)
def configs(request):
    folder = Path(__file__).parents[1] / "bundles" / request.param / "configs"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")} | {"bundle": folder.parent}


def test_every_setting_of_the_training_and_the_phases_around_it_stands_there_once(configs):
    train = configs["train"]
    found = listed(options(str(configs["bundle"])))
    assert list(found) == ["train", *reversed(earlier_phases(train)), *train.get("later", ())]
    assert found["train"] == settings(train)
    for phase in earlier_phases(train):
        # What both have is one setting, except for what every phase has for itself.
        own = [n for n in settings(configs[phase]) if n not in train or n in OWN or n in runnable_ids(configs[phase])]
        assert found[phase] == [f"{phase}#{name}" for name in own]
    for phase in train.get("later", ()):
        own = [name for name in settings(configs[phase]) if "#" not in name]
        assert sorted(found[phase]) == sorted(f"{phase}#{name}" for name in own)
    names = [name for phase in found.values() for name in phase]
    assert len(names) == len(set(names))


def test_a_phase_named_is_listed_alone_and_in_full(configs):
    for phase in ("evaluate", "inference"):
        found = listed(options(str(configs["bundle"]), phase))
        assert found == {phase: settings(configs[phase])}


def test_a_shared_setting_stands_with_the_training_only():
    found = listed(options(str(Path(__file__).parents[1] / "bundles/amlp")))
    assert "dataset_dir" in found["train"]
    assert "max_epochs" in found["train"]
    (earlier,) = (names for phase, names in found.items() if phase == "pretrain")
    assert "pretrain#max_epochs" in earlier
    assert not [name for name in earlier if name.endswith("#dataset_dir")]


@pytest.fixture
def small(tmp_path):
    """A bundle of a training and one phase before it."""
    configs = tmp_path / "small/configs"
    configs.mkdir(parents=True)
    first = {
        "_desc_": "the first",
        "bundle_root": "$monai_ext.bundle.find_root('small')",
        "rate": 0.1,
        "depth": 3,
        "run": "$print(@rate)",
    }
    train = {
        "_desc_": "the second",
        "imports": ["$import monai_ext"],
        "phases": {"first": {"product": "@weights"}},
        "bundle_root": "$monai_ext.bundle.find_root('small')",
        "rate": 0.1,
        "_rate_": "how fast it learns",
        "lr": None,
        "long": "word " * 40,
        "network": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1},
        "run": "$print(@rate)",
    }
    for name, content in (("metadata", {"name": "small"}), ("first", first), ("train", train)):
        (configs / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "small"


def test_parts_and_what_runs_are_no_settings(small):
    train = json.loads((small / "configs/train.json").read_text())
    assert [setting.name for setting in list_settings(train)] == ["bundle_root", "rate", "lr", "long"]


def test_default_and_sentence_are_shown_within_the_width(small):
    text = options(str(small), width=60)
    lines = text.splitlines()
    assert "train: the second" in lines
    assert "first: the first" in lines
    assert "  --rate  a number; default 0.1" in lines
    assert "  --lr  anything; default null" in lines
    assert " ..." in text
    assert all(len(line) <= 60 for line in lines)
    assert "  --first#depth  a whole number; default 3" in lines
    assert "--first#rate" not in text


def test_a_bundle_or_a_phase_that_is_none(small):
    with pytest.raises(ConfigError, match=r"no phase 'frist': there are first, train"):
        options(str(small), "frist")
    with pytest.raises(ConfigError, match="cannot find the bundle nowhere"):
        options("nowhere")

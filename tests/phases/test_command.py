"""The same words in this process: every case of tests/faults/words.py, in seconds."""

import importlib.util
import json
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue

from monai_ext.bundle import Command
from monai_ext.errors import ConfigError
from monai_ext.phases.command import check_command

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("words", ROOT / "tests/faults/words.py")
words = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(words)


def check(bundle, file, run_id, pairs):
    overrides = {name[2:]: DefaultParseValue(value) for name, value in zip(pairs[::2], pairs[1::2])}
    files = (str(ROOT / "bundles" / bundle / "configs" / file),)
    return overrides | check_command(Command(run_id, files, overrides))


@pytest.mark.parametrize("bundle", words.WRONG)
def test_wrong_words(bundle):
    for file, given, hint in words.WRONG[bundle]:
        with pytest.raises(ConfigError) as error:
            check(bundle, file, given[0], given[1:])
        assert hint in str(error.value), given
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("bundle", words.RIGHT)
def test_right_words(bundle):
    for file, given, (name, value) in words.RIGHT[bundle]:
        found = check(bundle, file, "run", given)[name]
        assert found == value or str(found) == str(value), given
        assert isinstance(value, bool) == isinstance(found, bool)


def test_sections_of_overlays_are_checked(tmp_path):
    overlay = tmp_path / "overlay.json"
    train = str(ROOT / "bundles/amlp/configs/train.json")
    overlay.write_text('{"pretrain": {"max_epochs": 3}}')
    check_command(Command("run", (train, str(overlay))))
    overlay.write_text('{"pretrain": {"max_epoch": 3}}')
    for file in (train, train.replace("train.json", "pretrain.json")):  # in the chain, and alone
        with pytest.raises(
            ConfigError, match=r"overlay.json: pretrain has no setting 'max_epoch' .did you mean 'max_epochs'"
        ):
            check_command(Command("run", (file, str(overlay))))


def test_a_phase_alone_obeys_its_section_and_the_command_line_above_it(tmp_path):
    overlay = tmp_path / "plan.json"
    overlay.write_text('{"lr": 0.5, "max_epochs": 9, "pretrain": {"max_epochs": 3, "batch_size": 7}}')
    files = (str(ROOT / "bundles/amlp/configs/pretrain.json"), str(overlay))
    own = json.loads(Path(files[0]).read_text())
    assert check_command(Command("run", files)) == {"lr": own["lr"], "max_epochs": 3, "batch_size": 7}
    found = check_command(Command("run", files, {"max_epochs": 2, "amp": "no"}))
    assert found == {"lr": own["lr"], "max_epochs": 2, "batch_size": 7, "amp": False}

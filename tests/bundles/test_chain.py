"""The phases of a bundle as one chain, by its configs."""

import json
import re

import pytest

from monai_ext.phases.chain import earlier_phases, is_shared


def phases_before(configs):
    return [(phase, configs[f"{phase}.json"]) for phase in earlier_phases(configs["train.json"])]


def test_a_setting_of_several_phases_has_one_default(configs):
    chain = [*phases_before(configs), ("train", configs["train.json"])]
    for number, (name, config) in enumerate(chain):
        for other, its in chain[:number]:
            shared = [key for key in config if is_shared(key, config, its)]
            known = [key for key in shared if set(re.findall(r"@(\w+)", str(config[key]))) <= its.keys()]
            unlike = [key for key in known if config[key] != its[key]]
            assert not unlike, f"{name} and {other} differ in {unlike}"


def test_every_earlier_phase_names_its_product_and_has_a_place_for_its_settings(configs):
    for phase, config in phases_before(configs):
        assert "product" in config, phase
        assert configs["train.json"][phase] == {}, phase
        assert "run" in config


def test_earlier_phases_know_the_phases_before_them(configs):
    """A phase that is run by itself first runs the phases that it needs, like the whole method."""
    order = earlier_phases(configs["train.json"])
    for number, phase in enumerate(order):
        assert set(earlier_phases(configs[f"{phase}.json"])) <= set(order[:number])


@pytest.mark.parametrize("word", ["_args", "+"])
def test_no_section_of_arguments_and_no_merge(configs, word):
    text = {file: json.dumps(config) for file, config in configs.items()}
    assert [file for file, t in text.items() if (f'{word}":' in t if word == "_args" else '"+' in t)] == []

"""Phases as one chain: what is handed on, what is run, and what is used again."""

import json
import logging

import pytest
from monai.bundle import ConfigParser

from monai_ext.data.io.record import read_record, record_file, write_record
from monai_ext.errors import ConfigError
from monai_ext.phases.chain import Phase, earlier_phases, is_shared, runnable_ids, settings_alone, shared_settings
from monai_ext.phases.identity import identify

EARLIER = {
    "imports": ["$import monai_ext"],
    "run_dir": "@bundle_root",
    "bundle_root": "",
    "output_dir": "$@run_dir + '/output/first'",
    "weights": "$@run_dir + '/models/first.pt'",
    "product": "@weights",
    "wanted": "$@size > 0",
    "size": 3,
    "lr": 1.0,
    "depth": 2,
    "last": 7,
    "run": "$@trainer.run()",
    "first": "@run",
}
LATER = {
    "phases": ["first"],
    "first": {},
    "bundle_root": "",
    "run_dir": "@bundle_root",
    "size": 5,
    "base": 4,
    "depth": "$@base + 1",
    "lr": 0.1,
    "weights": "$@run_dir + '/models/first.pt'",
    "run": "$@trainer.run()",
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/first.json").write_text(json.dumps(EARLIER))
    return tmp_path


def later(root, **settings):
    parser = ConfigParser()
    parser.read_config({**LATER, "bundle_root": str(root)})
    parser.update(settings)
    return parser


def test_what_both_name_is_shared_but_for_how_a_phase_learns():
    shared = [key for key in LATER if is_shared(key, LATER, EARLIER)]
    assert shared == ["bundle_root", "run_dir", "size", "depth", "weights"]
    assert earlier_phases(LATER) == ["first"]
    assert earlier_phases(EARLIER) == []


def test_values_are_handed_as_written_or_evaluated_where_the_phase_lacks_what_they_refer_to(root):
    found = shared_settings(later(root), EARLIER)
    assert found["weights"] == "$@run_dir + '/models/first.pt'"
    assert found["depth"] == 5  # the phase has no base
    assert found["size"] == 5


def test_sections_add_up_over_overlays_and_the_command_line_wins(root, tmp_path):
    files = [tmp_path / "train.json", tmp_path / "one.json", tmp_path / "two.json"]
    for file, section in zip(files, ({}, {"lr": 2.0, "last": 8}, {"last": 9})):
        file.write_text(json.dumps({"first": section}))
    parser = later(root, first={"last": 9})  # as MONAI leaves it: the last overlay's
    phase = Phase(parser, "first", files=files)
    assert (phase.get("lr", None), phase.get("last", None), phase.get("size", None)) == (2.0, 9, 5)
    parser["first::last"] = 10  # --first#last 10
    assert Phase(parser, "first", files=files).get("last", None) == 10


def test_repeat_gives_one_run_for_each_element(root):
    config = EARLIER | {"repeat": "$[{'depth': d} for d in range(@size)]", "weights": "$@run_dir + str(@depth)"}
    (root / "configs/first.json").write_text(json.dumps(config))
    runs = list(Phase(later(root), "first").runs())
    assert [run.get("depth", None) for run in runs] == list(range(5))
    assert Phase(later(root, size=0), "first").get("wanted", True) is False


@pytest.fixture
def done(root):
    """The product, and the record of what made it."""
    product = root / "models/first.pt"
    product.parent.mkdir()
    product.write_text("weights")
    write_record(product, identify(Phase(later(root), "first").config))
    return product


def test_a_product_of_the_same_settings_is_used_again(root, done, caplog):
    with caplog.at_level(logging.INFO):
        assert Phase(later(root), "first").is_done(str(done))
        assert Phase(later(root, lr=9.0, base=4), "first").is_done(str(done))  # the later phase's own rate
    assert "done already" in caplog.text


@pytest.mark.row(38)
def test_a_product_of_other_settings_stops_the_run_and_names_them(root, done):
    with pytest.raises(ConfigError, match=r"size was 5, is 6.*--run_dir"):
        Phase(later(root, size=6), "first").is_done(str(done))
    with pytest.raises(ConfigError, match=r"last was 7, is 8"):
        Phase(later(root, first={"last": 8}), "first").is_done(str(done))


def test_a_product_without_a_record_is_made_again(root, done):
    record_file(done).unlink()
    assert not Phase(later(root), "first").is_done(str(done))
    record_file(done).write_text("{")  # as a kill may leave it
    assert read_record(done) is None
    assert not Phase(later(root), "first").is_done(str(done))
    assert not Phase(later(root), "first").is_done(str(root / "nothing.pt"))


def test_a_product_named_by_hand_is_taken_as_it_is(root, done, caplog):
    mine = root / "mine.pt"
    mine.write_text("weights of somebody")
    with caplog.at_level(logging.INFO):
        assert Phase(later(root, weights=str(mine)), "first").is_done(str(mine))
    assert f"{mine} is taken as it is" in caplog.text


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"run": "$@a.run()"}, ["run"]),
        ({"run": "$@a.run()", "training": ["$f()", "@run"], "lr": 1}, ["run", "training"]),
        ({"evaluating": "$@e.run()", "run": "@evaluating"}, ["evaluating", "run"]),
        ({"run": "@fit", "fit": "$monai_ext.f()", "other": "$monai_ext.g()"}, ["run", "fit"]),
        ({"steps": [{"a": 1}], "run": "$1"}, ["run"]),
        ({"lr": 1}, []),
    ],
)
def test_runnable_ids(config, found):
    assert runnable_ids(config) == found


def test_a_phase_alone_learns_as_in_a_run_of_the_chain(tmp_path):
    def write(name, content):
        (tmp_path / name).write_text(json.dumps(content))
        return str(tmp_path / name)

    first = write("first.json", EARLIER)
    plan = write("plan.json", {"size": 9, "lr": 0.003, "max_epochs": 20, "first": {"depth": 8}})
    row = write("row.json", {"lr": 0.5})
    own = {"depth": 8, "first": "@run"}  # the section is none of the phase's own settings
    assert settings_alone([first, plan]) == {"lr": 1.0} | own  # nor are the training's rate and epochs
    assert settings_alone([first, row]) == {}  # an overlay of this config means what it says
    assert settings_alone([first, plan, row]) == own
    train = write("train.json", LATER | {"train": {"lr": 1.0}})
    assert settings_alone([train, write("part.json", {"lr": 2.0, "train": {"lr": 3.0}})]) == {}

"""What runs before and after a config, as an expression of it."""

import json

import pytest
from monai.bundle import ConfigParser

from monai_ext.data.io.record import write_record
from monai_ext.phases.identity import identify
from monai_ext.phases.later import LaterPhase

START = {"imports": ["$import monai_ext", "$import pathlib"], "bundle_root": "", "run_dir": "@bundle_root"}
SAY = "$pathlib.Path(@run_dir, 'order').open('a').write(%r + ' ' + str(@size) + '; ')"
FIRST = {**START, "pretrained": "$@run_dir + '/first.pt'", "product": "@pretrained", "size": 0, "run": SAY % "first"}
TRAIN = {
    **START,
    "pretrained": "$@run_dir + '/first.pt'",
    "model": "$@run_dir + '/model.pt'",
    "product": "@model",
    "phases": ["first"],
    "first": {},
    "later": ["next"],
    "next": {},
    "size": 3,
    "run": SAY % "train",
    "again": "$monai_ext.phases.later_phase('next').run()",
    "training": ["$monai_ext.phases.run_earlier()", "@run", "$monai_ext.phases.run_later()"],
}
NEXT = {
    "wanted": False,
    "self_trained": "$@run_dir + '/next.pt'",
    "product": "@self_trained",
    "run": SAY % "next",
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "configs").mkdir()
    for name, config in (("first", FIRST), ("train", TRAIN), ("next", NEXT)):
        (tmp_path / f"configs/{name}.json").write_text(json.dumps(config))

    def call(run_id, **settings):
        parser = ConfigParser()
        parser.read_config({**TRAIN, "bundle_root": str(tmp_path)})
        parser.update(settings)
        (tmp_path / "order").write_text("")
        parser.get_parsed_content(run_id)
        return (tmp_path / "order").read_text()

    return call


def test_a_phase_after_the_training_runs_where_it_is_asked_for(run):
    assert run("training") == "first 3; train 3; "
    assert run("training", next={"wanted": True}, size=4) == "first 4; train 4; next 4; "


def test_it_runs_alone_by_its_own_id(run):
    assert run("again") == "next 3; "
    assert run("run") == "train 3; "


def test_a_product_of_another_run_stops_the_chain_before_its_first_phase(run, tmp_path):
    parser = ConfigParser()
    parser.read_config({**TRAIN, "bundle_root": str(tmp_path)})
    (tmp_path / "next.pt").write_text("weights")
    write_record(tmp_path / "next.pt", identify(LaterPhase(parser, "next").config))
    assert run("training", next={"wanted": True}).endswith("next 3; ")
    with pytest.raises(RuntimeError) as error:
        run("training", next={"wanted": True}, size=9)
    assert "another next: size was 3, is 9" in str(error.value.__cause__ or error.value)
    assert (tmp_path / "order").read_text() == ""
    assert run("training", size=9).endswith("train 9; ")  # where it is not asked for it does not matter

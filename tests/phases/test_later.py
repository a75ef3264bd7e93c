"""A phase that is laid over the one before it."""

import json

import pytest
from monai.bundle import ConfigParser

from monai_ext.data.io.record import write_record
from monai_ext.errors import ConfigError, DataError
from monai_ext.phases.identity import identify, settings_of
from monai_ext.phases.later import LaterPhase

TRAIN = {
    "imports": ["$import monai_ext"],
    "bundle_root": "",
    "run_dir": "@bundle_root",
    "output_dir": "$@run_dir + '/output/train'",
    "model": "$@run_dir + '/models/model.pt'",
    "product": "@model",
    "later": ["next"],
    "next": {},
    "size": 5,
    "lr": 0.1,
    "max_epochs": 10,
    "train": {"trainer": {"rate": "@lr", "epochs": "@max_epochs", "size": "@size"}},
    "run": "$print(@train#trainer)",
}
NEXT = {
    "wanted": False,
    "max_epochs": 3,
    "own": 1,
    "output_dir": "$@run_dir + '/output/next'",
    "self_trained": "$@run_dir + '/models/next.pt'",
    "product": "@self_trained",
    "train#trainer#rate": "$@lr / 2",
    "train#trainer#more": "@own",
}


@pytest.fixture
def phase(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/train.json").write_text(json.dumps(TRAIN))
    (tmp_path / "configs/next.json").write_text(json.dumps(NEXT))

    def make(files=(), **settings):
        parser = ConfigParser()
        parser.read_config({**TRAIN, "bundle_root": str(tmp_path)})
        parser.update(settings)
        return LaterPhase(parser, "next", files)

    return make


def test_it_has_what_the_one_before_has_but_for_what_it_says_itself(phase):
    found = phase(size=7, lr=0.4)  # settings of the command line or of an overlay
    trainer = found.get("train", None)["trainer"]
    assert trainer == {"rate": 0.2, "epochs": 3, "size": 7, "more": 1}
    assert found.get("wanted", True) is False
    assert found.get("product", None).endswith("/models/next.pt")


def test_the_section_of_overlays_and_of_the_command_line_is_over_all(phase, tmp_path):
    overlay = tmp_path / "plan.json"
    overlay.write_text(json.dumps({"max_epochs": 99, "next": {"max_epochs": 4, "own": 2}}))
    found = phase([overlay], max_epochs=99, next={"wanted": True, "max_epochs": 5})
    assert [found.get(key, None) for key in ("max_epochs", "own", "wanted")] == [5, 2, True]


def test_the_one_before_stays_as_it_is(phase):
    found = phase()
    assert found.parser["train"]["trainer"] == TRAIN["train"]["trainer"]
    assert found.parser.get_parsed_content("train")["trainer"]["rate"] == 0.1


def test_what_makes_its_product_depends_on_neither_its_section_nor_where_it_lies(phase, tmp_path):
    plain, wanted = phase(), phase(next={"wanted": True}, run_dir=str(tmp_path / "else"))
    assert settings_of(plain.config.get()) == settings_of(wanted.config.get())
    assert settings_of(plain.config.get()) != settings_of(phase(lr=0.3).config.get())
    assert settings_of(plain.config.get()) != settings_of(phase(next={"own": 3}).config.get())
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.pt").write_text("weights")
    assert identify(phase().config)["inputs"].keys() == {"model"}  # what the phase before has made


def test_a_product_of_another_run_is_refused_before_any_work(phase, tmp_path):
    product = tmp_path / "models/next.pt"
    product.parent.mkdir()
    product.write_text("weights")
    write_record(product, identify(phase().config))
    phase().check()
    with pytest.raises(ConfigError, match=r"another next: lr was 0.1, is 0.2"):
        phase(lr=0.2).check()


def test_scans_that_are_lacking_are_found_before_any_work(phase, tmp_path):
    scans = "$monai_ext.data.load_unlabelled(@bundle_root + '/none.json', @bundle_root)"
    (tmp_path / "configs/next.json").write_text(json.dumps(NEXT | {"scans": scans}))
    with pytest.raises(RuntimeError) as error:  # MONAI's, about an expression
        phase().check()
    assert isinstance(error.value.__cause__, DataError)
    assert "there is no such datalist" in str(error.value.__cause__)


def test_running_it_checks_first(phase, capsys, monkeypatch):
    found, order = phase(next={"own": 8}), []
    monkeypatch.setattr(found, "check", lambda: order.append(capsys.readouterr().out))
    found.run()
    assert order == [""]
    assert "'more': 8" in capsys.readouterr().out

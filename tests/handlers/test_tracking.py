"""MLflow's trackers: named after bundle and phase unless the user named them, finished last, with the pictures."""

import re
from pathlib import Path

import pytest
from ignite.engine import Engine, Events

from monai_ext import bundle

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

from monai.handlers import MLFlowHandler, from_engine

from monai_ext.handlers import tracking
from monai_ext.handlers.tracking import add_artifacts, close_last, prepare_trackers


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """``tracked(...)``: an engine and its tracker, which writes nothing before the engine runs."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def make(**options):
        engine = Engine(lambda engine, batch: {"loss": batch})
        tracker = MLFlowHandler(f"sqlite:///{tmp_path}/runs.db", output_transform=from_engine("loss"), **options)
        tracker.attach(engine)
        return engine, tracker

    return make


@pytest.fixture
def named(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_root", tmp_path / "prostate_mae")


def test_runs_are_named_by_bundle_and_phase_and_both_engines_share_one(tracked, named, monkeypatch):
    monkeypatch.setattr(tracking.time, "strftime", lambda form: "2024-02-03 04:05:06")
    (trainer, first), (evaluator, second) = tracked(), tracked()
    prepare_trackers([trainer, evaluator], "pretraining")
    for tracker in (first, second):
        assert tracker.experiment_name == "prostate_mae"
        assert tracker.run_name == "pretraining 2024-02-03 04:05:06"


def test_names_of_the_user_stay(tracked, named):
    engine, tracker = tracked(experiment_name="mine", run_name="the third")
    prepare_trackers([engine], "training")
    assert (tracker.experiment_name, tracker.run_name) == ("mine", "the third")


def test_without_a_bundle_the_experiment_keeps_its_name(tracked, monkeypatch):
    monkeypatch.setattr(bundle, "_root", None)
    engine, tracker = tracked()
    before = tracker.experiment_name
    prepare_trackers([engine], "training")
    assert tracker.experiment_name == before == tracking.UNNAMED
    assert re.fullmatch(r"training \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", tracker.run_name)


def test_a_loss_is_a_number(tracked, named):
    engine, tracker = tracked()
    assert tracker.output_transform({"loss": 1.5}) != 1.5  # MONAI's own packs it
    prepare_trackers([engine], "training")
    assert tracker.output_transform({"loss": 1.5}) == 1.5
    tracker.output_transform = lambda output: (1, 2)
    prepare_trackers([engine], "training")
    assert tracker.output_transform({}) == (1, 2)


def test_trackers_finish_after_what_was_attached_later(tracked):
    engine, tracker = tracked(close_on_complete=True)
    engine.add_event_handler(Events.COMPLETED, lambda engine: None)

    def order():
        return [handler for handler, *_ in engine._event_handlers[Events.COMPLETED]]

    assert order()[0] == tracker.complete
    close_last(engine)
    assert order()[1:] == [tracker.complete, tracker.close]
    close_last(engine)  # once more changes nothing
    assert order()[1:] == [tracker.complete, tracker.close]


def test_pictures_are_added_to_the_artifacts(tracked):
    engine, tracker = tracked(artifacts="model.pt")
    add_artifacts(engine, [Path("report.html"), Path("a.png")])
    assert tuple(tracker.artifacts) == ("model.pt", "report.html", "a.png")
    bare, without = tracked()
    add_artifacts(bare, [Path("a.png")])
    assert tuple(without.artifacts) == ("a.png",)


def test_engines_without_trackers_are_left_alone():
    engine = Engine(lambda engine, batch: None)
    prepare_trackers([engine], "training")
    close_last(engine)
    add_artifacts(engine, [Path("a.png")])
    assert not engine._event_handlers[Events.COMPLETED]

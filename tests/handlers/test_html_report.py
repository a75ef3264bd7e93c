"""The page of a run: self-contained, complete, escaped; cases in order; names and files for MLflow."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from ignite.engine import Engine, Events
from matplotlib.image import imsave
from monai.handlers import MLFlowHandler, from_engine

from monai_ext import bundle as running
from monai_ext.handlers import RunReport
from monai_ext.handlers.html_report import html_report

REPORT = {
    "phase": "evaluating",
    "seconds": 12.5,
    "versions": {"torch": "2.13.0"},
    "metrics": {"dice <all>": {"mean": 0.51234, "ci_low": 0.4, "ci_high": 0.6, "n": 17}},
}


class Balance(HTMLParser):
    """Fails on a tag that is closed but not open."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_no_network(tmp_path):
    imsave(tmp_path / "case1.png", np.random.default_rng(0).random((8, 8, 3)))
    curves = {"loss": [(0, 2.0), (5, 1.0), (10, 0.5)], "n": [(0, 2.0), (5, 2.0)]}
    page = html_report(REPORT, curves, [tmp_path / "case1.png"], "a_bundle")
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.links) == 1
    assert parser.links[0].startswith("data:image/png;base64,")
    assert page.count("<svg") == 1
    assert "curve n" not in page
    assert "<h1>a_bundle · evaluating</h1>" in page
    for shown in ("Dice &lt;all&gt;", "0.5123", "0.4 to 0.6", "17", "torch 2.13.0", "case1"):
        assert shown in page


def test_cases_are_listed_worst_first_and_lead_to_their_pictures(tmp_path):
    rows = {"b": "0.9", "a<1": "0.1", "c": "", "d": "0.5"}
    out = tmp_path / "out"
    (out / "preview").mkdir(parents=True)
    (out / "report.json").write_text(json.dumps(REPORT))
    report = RunReport(str(out / "report.json"), "evaluating")
    lines = [f"{case},{case},{dice},3" for case, dice in rows.items()]
    (out / "cases.csv").write_text("\n".join(["case,patient,dice,fpv_ml", *lines]))
    for case in ("b", "d"):
        imsave(out / f"preview/{case}.png", np.random.default_rng(0).random((400, 800, 3)))
    engine = Engine(lambda engine, batch: None)
    engine.state.rank = 0
    report.publish(engine)
    page = (out / "report.html").read_text()
    assert "4 cases, worst Dice first" in page
    table = page[page.index("cases, worst") :]
    listed = [table.index(f"<td>{case}</td>") for case in ("a&lt;1", "d", "b", "c")]
    assert listed == sorted(listed)  # a case without a value comes last
    assert "false positive volume, ml" in table
    assert table.count("data:image/jpeg") == 2
    assert 'href="#b"' in table
    assert 'id="b"' in table
    assert table.index('id="d"') < table.index('id="b"')
    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_an_interval_that_is_not_known_and_long_lists_are_not_shown(tmp_path):
    report = {"phase": "p", "metrics": {"dice": {"mean": 0.5, "ci_low": None, "ci_high": None, "n": 1}}}
    page = html_report(report | {"patients": [f"p{i}" for i in range(40)], "seed": None}, {}, [])
    assert "- to -" not in page
    assert "p7, and 32 more" in page
    assert "seed" not in page


class Late:
    """A preview that is drawn at the end, attached after the report."""

    def __init__(self, path):
        self.path = path

    def attach(self, engine):
        engine.add_event_handler(Events.COMPLETED, lambda: imsave(self.path, np.zeros((4, 4, 3))))


def run(*handlers):
    engine = Engine(lambda engine, batch: {"loss": float(batch)})
    engine.state.rank, engine.state.device, engine.state.key_metric_name = 0, "cpu", None
    for handler in handlers:
        handler.attach(engine)
    engine.run([1.0, 2.0])
    return engine


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    folder = tmp_path / "a_bundle"
    (folder / "configs").mkdir(parents=True)
    metadata = {"name": "A bundle", "version": "1.2.3", "intended_use": "Tests."}
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    monkeypatch.setattr(running, "_root", None)
    monkeypatch.setattr(running, "_record", None)
    running.remember_run(folder)


def test_report_writes_the_page_after_all_pictures(tmp_path, bundle):
    out = tmp_path / "out"
    (out / "preview").mkdir(parents=True)
    run(RunReport(str(out / "report.json"), "inference"), Late(out / "preview/late.png"))
    page = (out / "report.html").read_text()
    assert "late" in page
    assert "A bundle, 1.2.3" in page
    assert "Tests." in page


def test_mlflow_runs_have_names_and_pictures(tmp_path, bundle):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path}/runs.db"
    out = tmp_path / "out"
    (out / "preview").mkdir(parents=True)
    transform = from_engine(["loss"], first=True)  # as `--tracking mlflow` has it
    tracker = MLFlowHandler(uri, output_transform=transform, close_on_complete=True, tag_name="train_loss")
    run(RunReport(str(out / "report.json"), "inference"), Late(out / "preview/late.png"), tracker)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("a_bundle")
    (found,) = client.search_runs(experiment.experiment_id)
    assert found.info.run_name.startswith("inference 20")
    assert found.info.status == "FINISHED"
    assert [m.value for m in client.get_metric_history(found.info.run_id, "train_loss")] == [1.0, 2.0]
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {
        "report.json",
        "report.html",
        "late.png",
    }


def test_names_given_by_the_user_stay(tmp_path, bundle):
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path}/runs.db"
    tracker = MLFlowHandler(uri, experiment_name="mine", run_name="first", output_transform=lambda o: o["loss"])
    (tmp_path / "out").mkdir()
    run(RunReport(str(tmp_path / "out/report.json"), "inference"), tracker)
    assert (tracker.experiment_name, tracker.run_name) == ("mine", "first")

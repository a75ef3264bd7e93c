"""Inference goes on after a study that cannot be done."""

import pytest
import torch
from ignite.engine import Events
from torch import nn

from monai_ext.data import StudyDataset
from monai_ext.data.io.record import record_file
from monai_ext.engines import StudyEvaluator
from monai_ext.errors import ConfigError, DataError, StudyError, find_bundle_error


@pytest.fixture
def evaluate(tmp_path):
    """``evaluate(count, prepare, restore)``: the evaluator after its run, and the error that ended it."""

    def run(count, prepare=dict, restore=dict):
        def transform(item):
            prepare(item)
            return {"id": item["id"], "image": torch.ones(1, 2, 2)}

        def restore_and_write(item):
            item = restore(item)
            dataset.mask(item["id"]).parent.mkdir()
            dataset.mask(item["id"]).touch()
            return item

        items = [{"id": f"c{number}", "image": f"/{number}.nii"} for number in range(count)]
        dataset = StudyDataset(items, transform, tmp_path)
        seen = []
        evaluator = StudyEvaluator(torch.device("cpu"), dataset, nn.Conv2d(1, 1, 1), postprocessing=restore_and_write)

        @evaluator.on(Events.ITERATION_COMPLETED)
        def note(engine):
            for item, output in zip(engine.state.batch, engine.state.output):
                seen.append(item["id"])
                assert output["pred"].shape == (1, 2, 2)

        error = None
        try:
            evaluator.run()
        except Exception as found:
            error = found
        return evaluator, seen, error

    return run


def bad(*cases, kind=DataError):
    def step(item):
        if str(item["id"]) in cases:
            raise kind("it is broken")
        return item

    return step


def done(tmp_path):
    return sorted(path.parent.name for path in tmp_path.glob("*/*.record.json"))


def test_all_are_done(evaluate, tmp_path, capsys):
    evaluator, seen, error = evaluate(4)
    assert (seen, error, evaluator.failures) == (["c0", "c1", "c2", "c3"], None, [])
    assert done(tmp_path) == seen
    assert record_file(evaluator.dataset.mask("c0")).is_file()


@pytest.mark.parametrize("where", ["prepare", "restore"])
@pytest.mark.parametrize("kind", [DataError, ValueError])
def test_a_study_in_the_middle_and_the_last_one(evaluate, tmp_path, where, kind):
    evaluator, seen, error = evaluate(5, **{where: bad("c2", "c4", kind=kind)})
    assert seen == done(tmp_path) == ["c0", "c1", "c3"]
    assert [failure["id"] for failure in evaluator.failures] == ["c2", "c4"]
    assert all("it is broken" in failure["cause"] for failure in evaluator.failures)
    assert isinstance(error, StudyError)
    assert str(error).startswith("2 of 5 studies could not be done; the others are\n  case c2: ")
    assert error.exit_code == 6


def test_one_alone_ends_with_its_own_error(evaluate):
    *_, error = evaluate(1, bad("c0"))
    assert isinstance(find_bundle_error(error), DataError)


def test_a_full_disk_ends_all(evaluate, tmp_path):
    _, seen, error = evaluate(4, restore=bad("c1", kind=ConfigError))
    assert isinstance(find_bundle_error(error), ConfigError)
    assert seen == done(tmp_path) == ["c0"]


def test_nothing_is_left(evaluate, capsys):
    _, seen, error = evaluate(0)
    assert (seen, error) == ([], None)
    assert "all studies are done" in capsys.readouterr().out

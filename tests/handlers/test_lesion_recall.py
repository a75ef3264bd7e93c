import logging

import pytest
import torch
from ignite.engine import Engine

from monai_ext.handlers import LesionRecall


def batch(cases, lesions):
    """8x8 images of four patches each; the lesion fills the patches named."""
    label = torch.zeros(len(cases), 1, 8, 8)
    for sample, patches in zip(label, lesions):
        for patch in patches:
            x, y = 4 * (patch // 2), 4 * (patch % 2)
            sample[0, x : x + 4, y : y + 4] = 1
    return {"label": label, "id": cases}


def run(batches, masks, epochs=1):
    output = iter([{"mask": torch.tensor(mask)} for mask in masks] * epochs)
    engine = Engine(lambda engine, batch: next(output))
    handler = LesionRecall((4, 4))
    handler.attach(engine)
    engine.run(batches, max_epochs=epochs)
    return engine.state.metrics, handler.summary()


BATCHES = [batch(["a", "a"], [[0], []]), batch(["b"], [[0, 3]])]
MASKS = [[[True, False, False, False], [False, True, False, False]], [[False, True, True, True]]]


def test_recall_and_chance_of_slices_with_lesion(caplog):
    caplog.set_level(logging.INFO)
    metrics, summary = run(BATCHES, MASKS, epochs=2)
    assert metrics == {"lesion_recall": 0.75, "lesion_recall_by_chance": 0.5}  # (1 + 1/2) / 2, (1/4 + 3/4) / 2
    assert summary["lesion_recall"]["mean"] == 0.75
    assert (summary["lesion_recall"]["n"], summary["lesion_recall"]["groups"]) == (2, 2)
    assert "hide 75 % of the lesion patches, chance 50 %" in caplog.text
    assert "WARNING" not in caplog.text


def test_masks_that_miss_the_lesions_are_a_warning(caplog):
    metrics, _ = run(BATCHES[:1], [[[False, True, True, True], [True] * 4]])
    assert metrics["lesion_recall"] == 0
    assert "WARNING" in caplog.text
    assert "no better than random masks" in caplog.text


@pytest.mark.parametrize("batches", [[batch(["a"], [[]])], [{"id": ["a"]}]])
def test_nothing_is_said_without_lesions(batches, caplog):
    assert run(batches, [[[True, False, False, False]]]) == ({}, {})
    assert not caplog.records

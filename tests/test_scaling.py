"""SCALING.md is what its command computes, and the counts are those worked by hand."""

import json

import pytest
import scaling
import torch
from phase_steps import Phase, phase_named
from torch import nn


@pytest.mark.slow
def test_the_document_is_up_to_date():
    assert scaling.DOCUMENT.read_text(encoding="utf-8") == scaling.document()


def test_counts_of_a_convolution_worked_by_hand(monkeypatch):
    """Two images of 8 x 8, 3 to 5 channels, 3 x 3: operations, and what is kept: the input alone."""

    class Parser(dict):
        def get_parsed_content(self, key):
            return self[key]

    parser = Parser(batch_size=2, shape_of_item=[3, 8, 8], network=nn.Conv2d(3, 5, 3, padding=1, device="meta"))
    parser["optimizer"] = {"_target_": "torch.optim.SGD"}
    parser |= {"iterations": 10, "max_epochs": 4}

    class Fixed(Parser):
        def __setitem__(self, key, value):
            if key != "shape_of_item":
                super().__setitem__(key, value)

    monkeypatch.setattr(scaling, "parse", lambda *_: Fixed(parser))
    found = scaling.count(Phase("none", "train", ""))
    assert found["operations"] == 3 * 2 * (2 * 8 * 8 * 5 * 3 * 9)
    assert found["kept"] == 2 * 3 * 8 * 8 * 4 / 2
    assert found["weights"] == 5 * 3 * 9 + 5
    assert found["state"] == 4 * 140 * 3
    assert (found["epochs"] * found["epoch"], found["read"]) == (40, 2 * (3 * 64 * 2 + 64))


def test_one_gpu_has_no_gradients_to_send_and_many_share_the_steps():
    found = {
        "name": "a", "batch": 1, "shape": [1, 2], "weights": 10**9, "epochs": 8, "epoch": 3600, "read": 1, "kept": 0,
        "state": 0, "operations": scaling.PEAK * scaling.SHARE,
    }  # fmt: skip
    cells = scaling.row(found).split(" | ")
    alone, eight = float(cells[12]), float(cells[13])
    assert alone == 8.0
    assert eight == pytest.approx(1 + 4e9 / scaling.LINKS[8], abs=0.01)
    assert cells[15] == "arithmetic |"


def test_a_measured_step_takes_the_place_of_the_computed_one(monkeypatch, tmp_path):
    rows = [{"what": "step of a train", "variant": "as configured", "seconds": 0.5}]
    (tmp_path / "a" / "docs").mkdir(parents=True)
    (tmp_path / "a" / "docs" / "gpu.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(scaling, "BUNDLES", tmp_path)
    found = {
        "name": "a train", "batch": 1, "shape": [1], "weights": 1, "epochs": 1, "epoch": 3600, "read": 1e9, "kept": 0,
        "state": 0, "operations": 1.0,
    }  # fmt: skip
    cells = scaling.row(found).split(" | ")
    assert (cells[7], cells[10], cells[12]) == ("500.0", "3600.0", "0.50")
    assert scaling.measured("b train") is None


def test_the_gan_is_linear_in_its_images():
    phase = phase_named("adunet_anomaly reconstruct")
    one, two, four = (scaling.adversarial_step(phase, images, phase.small) for images in (1, 2, 4))
    for a, b, d in zip(one[:2], two[:2], four[:2]):
        assert a < b < d
        assert a + 3 * (b - a) == pytest.approx(d, rel=0.01)


def test_a_phase_is_counted_with_the_sizes_of_its_config():
    found = scaling.count(phase_named("prostate_mae pretrain"))
    assert found["shape"] == [3, 88, 88]
    assert found["weights"] == 23_259_456
    assert torch.Size(found["shape"]).numel() * 2 * 64 < found["kept"]

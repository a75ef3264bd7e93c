import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext import bundle
from monai_ext.data.io.record import read_record
from monai_ext.errors import DataError
from monai_ext.metrics import dice
from monai_ext.networks import read_checkpoint
from monai_ext.networks.nets import UptakeThreshold
from monai_ext.phases import fit_threshold
from monai_ext.phases.threshold_fit import dice_by_threshold


def scans(count=3, lesion=True):
    rng = np.random.default_rng(0)
    for _ in range(count):
        label = rng.random((1, 8, 8, 8)) < 0.2
        suv = rng.gamma(2, 1, (1, 8, 8, 8)) + label * rng.gamma(4, 1, label.shape)
        image = np.concatenate([rng.normal(size=suv.shape), (suv - 7.09) / 8.01]).astype(np.float32)
        yield {"image": MetaTensor(torch.from_numpy(image)), "label": MetaTensor(torch.from_numpy(label * lesion))}


def test_curve_is_dice_one_by_one():
    (scan,) = scans(1)
    suv = UptakeThreshold().suv(scan["image"][None])[0].as_tensor()
    thresholds = torch.arange(1.0, 12.0, 0.5)
    curve = dice_by_threshold(suv, scan["label"].as_tensor() > 0, thresholds)
    for t, value in zip(thresholds, curve):
        assert float(value) == pytest.approx(dice((suv > t), scan["label"].as_tensor()).item(), abs=1e-6)


def test_best_threshold_is_found_saved_and_applied(tmp_path):
    data = list(scans())
    net = UptakeThreshold()
    found = fit_threshold(net, data, str(tmp_path / "m/model.pt"), str(tmp_path / "out"), validation=data[:1])
    by_hand = {}
    for t in np.arange(1.1, 20.05, 0.1):
        by_hand[t] = np.mean([float(dice(net.suv(s["image"][None])[0] > t, s["label"])) for s in data])
    best = max(by_hand, key=by_hand.get)
    assert found == pytest.approx(best, abs=1e-4)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["threshold"]["dice"] == pytest.approx(by_hand[best], abs=1e-6)
    other = UptakeThreshold()
    other.load_state_dict(read_checkpoint(tmp_path / "m/model.pt")["model"])
    logits = other(data[0]["image"][None])
    assert logits.shape == (1, 2, 8, 8, 8)
    mask = logits.argmax(1) > 0
    assert torch.equal(mask, other.suv(data[0]["image"][None])[:, 0] > found)
    assert report["threshold"]["val_dice"] == pytest.approx(float(dice(mask, data[0]["label"])), abs=1e-6)


def test_weights_tell_what_made_them_and_whose_scans(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_record", {"settings": {"step": 0.1}})
    data = [{**scan, "id": str(number), "patient": f"p{number}"} for number, scan in enumerate(scans())]
    fit_threshold(UptakeThreshold(), data, str(tmp_path / "model.pt"), str(tmp_path))
    assert read_record(tmp_path / "model.pt") == {
        "settings": {"step": 0.1},
        "patients": {"train": ["p0", "p1", "p2"]},
    }


def test_needs_a_lesion(tmp_path):
    with pytest.raises(DataError, match="no scan has a lesion"):
        fit_threshold(UptakeThreshold(), list(scans(lesion=False)), str(tmp_path / "m.pt"), str(tmp_path))

import json
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine

from monai_ext.engines import DomainHeadTraining
from monai_ext.networks.nets import DomainHead
from monai_ext.sigterm import Stopped

SIZE = 24


class Slices:
    """Eight slices of each of 12 patients, half of whom have a bright square in every other slice."""

    def __init__(self, signal=0.9):
        self.signal = signal
        self.data = [{"id": f"p{i}"} for i in range(12)]
        rows = [(case, z, int(case % 2 == 1 and z % 2 == 0)) for case in range(12) for z in range(8)]
        self.rows = torch.tensor(rows)

    def index(self):
        return self.rows.numpy()

    def __getitem__(self, number):
        case, z, domain = self.rows[number].tolist()
        draws = torch.Generator().manual_seed(100 * case + z)
        image = 0.1 * torch.randn(1, SIZE, SIZE, generator=draws) + 0.02 * case
        if domain:
            y, x = torch.randint(4, 14, (2,), generator=draws).tolist()
            image[:, y : y + 6, x : x + 6] += self.signal
        return {"image": image, "gland": torch.ones(1, SIZE, SIZE, dtype=torch.bool), "domain": domain}


def training(tmp_path, **options):
    torch.manual_seed(0)
    options = {"steps": 60, "interval": 20, "batch_size": 16, "lr": 3e-3, **options}
    return DomainHeadTraining(
        SimpleNamespace(head=DomainHead(channels=4)), options.pop("data", Slices()), str(tmp_path / "h.json"), **options
    )


def test_patients_are_held_out_whole_and_of_both_kinds(tmp_path):
    taught = training(tmp_path)
    (healthy, diseased), apart = taught.split()
    cases = taught.dataset.rows[:, 0]
    learned = {cases[i].item() for i in torch.cat([healthy, diseased])}
    held_out = {cases[i].item() for i in apart}
    assert not learned & held_out
    assert len(held_out) == 4
    assert {case % 2 for case in held_out} == {0, 1}
    assert sorted([*healthy.tolist(), *diseased.tolist(), *apart.tolist()]) == list(range(96))
    assert (taught.dataset.rows[diseased, 2] == 1).all()


def test_it_learns_what_is_common_and_is_frozen(tmp_path):
    taught = training(tmp_path)
    taught()
    assert taught.details["held_out_auroc"] > 0.95
    assert taught.details["enough"]
    assert not any(p.requires_grad for p in taught.head.parameters())
    assert json.loads((tmp_path / "h.json").read_text()) == taught.details
    _, apart = taught.split()
    assert taught.auroc(apart) == pytest.approx(max(value for _, value in taught.details["curve"]), abs=1e-4)


def test_nothing_to_learn_is_told(tmp_path, caplog):
    taught = training(tmp_path, data=Slices(signal=0.0), patience=1, steps=200)
    with caplog.at_level("WARNING"):
        taught()
    assert not taught.details["enough"]
    assert "more patients" in caplog.text
    assert len(taught.details["curve"]) < 10  # it stopped


def test_before_the_first_iteration_alone(tmp_path):
    taught = training(tmp_path, steps=20)
    seen = []
    engine = Engine(lambda engine, batch: seen.append(dict(taught.details)))
    taught.attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert all("held_out_auroc" in report for report in seen)
    changed = (tmp_path / "h.json").stat().st_mtime_ns

    again = training(tmp_path, steps=20)
    resumed = Engine(lambda engine, batch: None)
    resumed.load_state_dict({"epoch_length": 2, "max_epochs": 3, "iteration": 4})
    again.attach(resumed)
    resumed.run([0, 1])
    assert (tmp_path / "h.json").stat().st_mtime_ns == changed
    assert again.details == taught.details


def test_a_method_without_a_head_is_left_alone(tmp_path):
    engine = Engine(lambda engine, batch: None)
    DomainHeadTraining(SimpleNamespace(head=None), Slices(), str(tmp_path / "h.json")).attach(engine)
    engine.run([0])
    assert not (tmp_path / "h.json").exists()


def test_a_run_that_is_asked_to_end_does_not_wait_for_the_head(tmp_path, monkeypatch):
    """A scheduler gives half a minute; a head learns for two."""
    taught, seen = training(tmp_path), []
    jitter = taught.jitter
    taught.jitter = lambda *given: seen.append(1) or jitter(*given)
    monkeypatch.setattr("monai_ext.engines.domain_head.is_asked", lambda: len(seen) == 3)
    with pytest.raises(Stopped):
        taught()
    assert len(seen) == 3
    assert not (tmp_path / "h.json").exists()

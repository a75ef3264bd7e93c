"""A student that learns scans without labels from its own average."""

import math

import numpy as np
import pytest
import torch
from host_syncs import HostSyncs
from ignite.engine import Events
from torch import nn
from torch.utils.data import Dataset
from two_processes import on_two_processes

from monai_ext import sigterm
from monai_ext.data import PairedLoader, TrainLoader
from monai_ext.engines import SelfTrainer, ramp_up
from monai_ext.errors import TrainingError
from monai_ext.handlers import EMA, NaNGuard, TrainingRun
from monai_ext.losses import DeepSupervisionLoss, MemoryEfficientDiceCELoss, SureVoxelLoss, sure_labels
from monai_ext.networks import read_checkpoint
from monai_ext.transforms import BatchAugmentation


class Discs(Dataset):
    """Noisy slices with a bright disc, and its mask."""

    def __init__(self, count, first=0, size=16, label=True):
        self.count, self.first, self.size, self.label = count, first, size, label

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng(self.first + index)
        y, x = np.ogrid[: self.size, : self.size]
        centre, radius = rng.uniform(5, 11, 2), rng.uniform(2, 4)
        mask = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2)[None]
        image = torch.tensor(mask + 0.4 * rng.normal(size=mask.shape), dtype=torch.float32)
        return {"image": image, "label": torch.tensor(mask * self.label, dtype=torch.uint8)}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )


def trainer(net=None, epochs=3, data=None, folder=None, resume=False, handlers=(), momentum=0.9, lr=0.01, **options):
    net = network() if net is None else net
    ema, optimizer = EMA(net, momentum, momentum, amp=False), torch.optim.AdamW(net.parameters(), lr)
    data = PairedLoader(TrainLoader(Discs(8), 2), Discs(12, 100), 2) if data is None else data
    handlers = list(handlers)
    if folder is not None:
        objects = {"network": ema.teacher, "student": net}
        weights = str(folder / "self_trained.pt")
        handlers.append(TrainingRun("self-training", str(folder), weights, objects=objects, resume=resume))
    loss = options.pop("loss_function", MemoryEfficientDiceCELoss())
    made = SelfTrainer(torch.device("cpu"), epochs, data, net, ema, optimizer, loss, train_handlers=handlers, **options)
    return made, ema


def test_the_teacher_is_the_weighted_sum_of_all_the_students_there_were():
    history = []

    class Start:
        """Weights that the student loads when the run starts, after the average was made."""

        def attach(self, engine):
            engine.add_event_handler(Events.STARTED, lambda: net.load_state_dict(network(seed=5).state_dict()))
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: history.append(copy(net)))

    net = network()
    made, ema = trainer(net, epochs=2, momentum=0.8, handlers=[Start()])
    made.run()
    assert len(history) == 8
    for name, value in ema.teacher.state_dict().items():
        expected = 0.8**8 * network(seed=5).state_dict()[name].double()
        for age, state in enumerate(reversed(history)):
            expected += 0.2 * 0.8**age * state[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in ema.teacher.parameters())


def copy(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_a_step_is_that_of_the_sum_of_both_losses():
    batch = {"image": torch.randn(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8), "unlabelled": torch.randn(3, 1, 8, 8)}
    net = network()
    confidence = float(net(batch["unlabelled"]).softmax(1).max(1).values.median())
    made, _ = trainer(net, 4, [batch], mix=0.0, confidence=confidence, weight=3.0, ramp=0.5, lr=0.0)
    made.optimizer = torch.optim.SGD(net.parameters(), 1.0)
    losses = []
    made.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: losses.append(float(made.state.output["loss"])))
    made.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: made.terminate())
    made.run()
    plain = network()
    label = sure_labels(plain(batch["unlabelled"]), confidence)
    assert 0 < float((label == 255).float().mean()) < 1
    loss = MemoryEfficientDiceCELoss()(plain(batch["image"]), batch["label"])
    loss = loss + 3.0 * math.exp(-5) * SureVoxelLoss()(plain(batch["unlabelled"]), label)
    loss.backward()
    assert losses == pytest.approx([float(loss)], abs=1e-5)
    for found, before in zip(net.parameters(), plain.parameters()):
        torch.testing.assert_close(found, before - before.grad, atol=1e-5, rtol=1e-4)


def test_the_weight_rises_as_the_square_exponential():
    progress = np.linspace(0, 1, 11)
    expected = [math.exp(-5 * (1 - min(1, p / 0.4)) ** 2) for p in progress]
    assert [ramp_up(float(p), 0.4) for p in progress] == pytest.approx(expected)
    assert ramp_up(0.0, 0.0) == 1


def test_scans_without_labels_help():
    """A student of two labelled discs, beside one that also has sixty without."""

    def error(weight):
        net = network()
        data = PairedLoader(TrainLoader(Discs(2), 2), Discs(60, 100), 8)
        made, ema = trainer(net, 150, data, weight=weight, confidence=0.8, seed=1)
        made.run()
        test = [Discs(40, 1000)[n] for n in range(40)]
        image, label = (torch.stack([item[key] for item in test]) for key in ("image", "label"))
        with torch.no_grad():
            return float(((ema.teacher(image).argmax(1, keepdim=True) > 0) != (label > 0)).float().mean())

    assert error(1.0) < error(0.0)


def test_labels_of_the_unlabelled_teach_nothing():
    def train(label):
        made, ema = trainer(data=PairedLoader(TrainLoader(Discs(8), 2), Discs(12, 100, label=label), 2))
        made.run()
        return ema.teacher.state_dict()

    assert all(torch.equal(a, b) for a, b in zip(train(True).values(), train(False).values()))


@pytest.mark.parametrize("views", [None, BatchAugmentation(spatial_dims=2, flips=[0])])
@pytest.mark.parametrize("step", [4, 6, 9])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, monkeypatch, step, views):
    """Step 4 ends an epoch, the others lie within one."""
    monkeypatch.setattr(sigterm, "_asked", False)
    options = {"views": views, "augmentation": views, "clip_norm": 1.0}

    def run(name, stop=None, resume=False):
        made, ema = trainer(folder=tmp_path / name, resume=resume, **options)
        if stop is not None:
            made.add_event_handler(
                Events.ITERATION_STARTED(once=stop), lambda: monkeypatch.setattr(sigterm, "_asked", True)
            )
        made.run()
        return made.network, ema

    whole = run("whole")
    with pytest.raises(SystemExit):
        run("parts", stop=step)
    monkeypatch.setattr(sigterm, "_asked", False)
    torch.manual_seed(99)
    parts = run("parts", resume=True)
    for a, b in ((whole[0], parts[0]), (whole[1].teacher, parts[1].teacher)):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    saved = read_checkpoint(tmp_path / "parts/self_trained.pt")
    assert all(torch.equal(value, whole[1].teacher.state_dict()[name]) for name, value in saved.items())


def test_the_share_of_sure_voxels_is_a_metric():
    for confidence, expected in ((1e-6, 1.0), (1.0, 0.0)):
        made, _ = trainer(epochs=1, confidence=confidence)
        made.run()
        assert made.state.metrics["sure_share"] == pytest.approx(expected)


def test_several_scales_are_learned_from_one_label():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            found = self.net(x)
            return [found, nn.functional.avg_pool2d(found, 2)] if self.training else found

    made, _ = trainer(Scales(), epochs=1, loss_function=DeepSupervisionLoss(MemoryEfficientDiceCELoss()))
    made.run()
    assert made.state.iteration == 4


@pytest.mark.parametrize("given", [{"confidence": 0.0}, {"confidence": 1.1}, {"weight": -1.0}, {"clip_norm": 0.0}])
def test_what_makes_no_sense_is_refused(given):
    with pytest.raises(ValueError, match="expected"):
        trainer(**given)


def test_a_loss_that_is_not_finite_ends_the_run():
    batch = {"image": torch.full((2, 1, 8, 8), math.nan), "label": torch.ones(2, 1, 8, 8)}
    made, _ = trainer(data=[batch | {"unlabelled": torch.randn(2, 1, 8, 8)}], handlers=[NaNGuard()])
    with pytest.raises(TrainingError):
        made.run()


def test_a_step_never_waits_for_the_device():
    made, _ = trainer(epochs=1, views=BatchAugmentation(spatial_dims=2, flips=[0]), clip_norm=1.0)
    syncs = HostSyncs()
    made.add_event_handler(Events.ITERATION_STARTED(once=3), lambda: syncs.__enter__())
    made.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: syncs.__exit__(None, None, None))
    made.run()
    assert syncs.found == []


def shares(part):
    """Batches of two steps, whole or those of one process of two."""
    items = [Discs(16)[n] for n in range(16)]
    whole = [torch.stack([item[key] for item in items]) for key in ("image", "label")]
    steps = [
        {"image": whole[0][s], "label": whole[1][s], "unlabelled": whole[0][s].flip(3)}
        for s in (slice(0, 8), slice(8, 16))
    ]
    return [{key: value[part] for key, value in step.items()} for step in steps]


def learn(part):
    net = network()
    loss = MemoryEfficientDiceCELoss(batch=True)
    made, ema = trainer(net, 2, shares(part), mix=0.0, confidence=0.52, ramp=0.0, clip_norm=1.0, loss_function=loss)
    made.run()
    return {"student": net.state_dict(), "teacher": ema.teacher.state_dict()}


def work(rank, folder):
    return learn(slice(4 * rank, 4 * rank + 4))


def test_two_processes_learn_what_one_learns_with_twice_the_batch(tmp_path):
    alone = learn(slice(None))
    for rank in on_two_processes(work, tmp_path):
        for who, state in alone.items():
            for name, value in state.items():
                torch.testing.assert_close(rank[who][name], value, atol=2e-5, rtol=1e-4)

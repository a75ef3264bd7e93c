"""MONAI's trainer and evaluator as the bundles use them; two processes learn what one learns from both shares."""

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import RunningAverage
from monai.transforms import Compose, Lambdad
from torch import nn
from two_processes import on_two_processes

from monai_ext.data import TrainLoader
from monai_ext.engines.segmentation import SegmentationEvaluator, SegmentationTrainer


def items(count=8):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 6, 6, generator=generator)
    return [{"image": image, "label": image.square() - 0.5} for image in images]


def train(batch_size, epochs=2):
    """The weights after some steps of plain SGD, the loss of each, and the epochs the loader's sampler heard of."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 1))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    loader = TrainLoader(items(), batch_size, shuffle=False)
    trainer = SegmentationTrainer(torch.device("cpu"), epochs, loader, network, optimizer, nn.MSELoss())
    losses = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def note(engine):
        losses.append(engine.state.output["loss"].item())

    trainer.run()
    return {"weights": network.state_dict(), "losses": losses, "wrapped": trainer.network is not network}


def work(rank, folder):
    return train(batch_size=2)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_processes(work, tmp_path_factory.mktemp("processes"))


def test_two_processes_learn_what_one_learns_with_twice_the_batch(ranks):
    alone = train(batch_size=4)
    for rank in ranks:
        assert rank["wrapped"]
        assert len(rank["losses"]) == len(alone["losses"]) == 4
        for name, value in alone["weights"].items():
            assert torch.allclose(rank["weights"][name], value, atol=1e-6), name
    means = [sum(pair) / 2 for pair in zip(*(rank["losses"] for rank in ranks))]
    assert means == pytest.approx(alone["losses"], abs=1e-6)
    assert ranks[0]["losses"] != ranks[1]["losses"]


def test_one_process_alone_trains_the_network_itself():
    first = train(batch_size=4, epochs=12)
    assert not first["wrapped"]
    assert first["losses"][-1] < 0.9 * first["losses"][0]


def test_handlers_find_network_and_optimizer_when_they_attach():
    class Handler:
        def attach(self, engine):
            self.found = engine.network, engine.optimizer

    network, handler = nn.Conv2d(1, 1, 1), Handler()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    SegmentationTrainer(
        torch.device("cpu"), 1, TrainLoader(items(), 4), network, optimizer, nn.MSELoss(), train_handlers=[handler]
    )
    assert handler.found == (network, optimizer)


def test_the_evaluator_takes_one_case_at_a_time_of_any_size():
    cases = [{"image": torch.full((1, size, size), float(size)), "label": torch.zeros(1)} for size in (4, 5, 7)]
    network, seen = nn.Conv2d(1, 1, 1), []
    postprocessing = Compose([Lambdad("pred", lambda pred: pred.shape[-1] * torch.ones(()))])
    metric = RunningAverage(output_transform=lambda output: output[0]["pred"].item(), alpha=1e-9, epoch_bound=True)
    evaluator = SegmentationEvaluator(
        torch.device("cpu"), cases, network, postprocessing=postprocessing, key_val_metric={"size": metric}
    )
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append([item["pred"].item() for item in engine.state.output])
    )
    modes = []
    network.register_forward_hook(lambda *_: modes.append((network.training, torch.is_grad_enabled())))
    evaluator.run()
    assert seen == [[4.0], [5.0], [7.0]]
    assert evaluator.state.key_metric_name == "size"
    assert evaluator.state.metrics["size"] == pytest.approx(7, abs=1e-6)
    assert modes == [(False, False)] * 3


@pytest.mark.parametrize("limit", [0.01, 1e6, None])
def test_a_step_is_that_of_the_clipped_gradient(limit):
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    twin = nn.Linear(3, 2)
    twin.load_state_dict(network.state_dict())
    x, y = torch.randn(4, 3), torch.randn(4, 2) * 100
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    batch = [{"image": x, "label": y}]
    SegmentationTrainer(torch.device("cpu"), 1, batch, network, optimizer, nn.MSELoss(), clip_norm=limit).run()
    nn.MSELoss()(twin(x), y).backward()
    norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm()
    scale = min(1.0, (limit or torch.inf) / norm.item())
    for ours, its in zip(network.parameters(), twin.parameters()):
        torch.testing.assert_close(ours, its - its.grad * scale, rtol=1e-4, atol=1e-6)


def test_a_limit_of_the_gradient_must_be_positive():
    network = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="positive, got 0"):
        SegmentationTrainer(
            torch.device("cpu"), 1, [], network, torch.optim.SGD(network.parameters(), 1.0), nn.MSELoss(), clip_norm=0
        )


def test_batches_are_augmented_by_seed_rank_and_step():
    """A run that starts later draws what the whole one drew; validation and the loader's own batch stay as they are."""
    asked, seen = [], []

    def augment(image, label, numbers, generator):
        asked.append(numbers)
        return image + torch.randn(image.shape, generator=generator), label

    class Network(nn.Conv2d):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    def run(first=1, seed=3):
        seen.clear()
        network, data = Network(1, 1, 1), items(4)
        loader = TrainLoader(data, 2, shuffle=False)
        optimizer = torch.optim.SGD(network.parameters(), 0.0)
        trainer = SegmentationTrainer(
            torch.device("cpu"), 2, loader, network, optimizer, nn.MSELoss(), augmentation=augment, seed=seed
        )
        if first > 1:
            trainer.state.iteration, trainer.state.epoch = first - 1, (first - 1) // 2
        trainer.run()
        assert torch.equal(data[0]["image"], items(4)[0]["image"])
        return list(seen)

    whole = run()
    assert asked == [(3, 0, step) for step in (1, 2, 3, 4)]
    assert not torch.equal(whole[0], whole[2])  # the same slices in the second epoch
    assert all(torch.equal(a, b) for a, b in zip(run(first=3), whole[2:], strict=True))
    assert not torch.equal(run(seed=4)[0], whole[0])

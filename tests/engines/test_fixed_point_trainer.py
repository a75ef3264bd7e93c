import copy
import logging

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ignite.engine import Events
from monai.data import MetaTensor
from monai.handlers import LrScheduleHandler
from monai.utils import AdversarialIterationEvents
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ConstantLR, LinearLR, SequentialLR

from monai_ext.engines import FixedPointTrainer
from monai_ext.handlers import TrainingRun
from monai_ext.losses import FixedPointGeneratorLoss
from monai_ext.networks.nets import FixedPointDiscriminator, FixedPointGenerator

SIZE = 16


def batches(count=6, seed=0):
    """Smooth bright images (domain 0) and the same with a dark square (domain 1)."""
    rng = torch.Generator().manual_seed(seed)
    result = []
    for _ in range(count):
        image = torch.rand(4, 1, 1, 1, generator=rng) * 0.4 + 0.3 + torch.zeros(4, 1, SIZE, SIZE)
        domain = torch.tensor([0, 1, 0, 1])
        image[domain == 1, :, 5:10, 6:12] -= 0.8
        result.append({"image": image, "domain": domain})
    return result


def networks(seed=0):
    torch.manual_seed(seed)
    generator = FixedPointGenerator(channels=4, num_blocks=1, start_as_identity=False)
    return generator, FixedPointDiscriminator(SIZE, channels=4, num_layers=4)


def trainer_for(g, d, data, epochs=1, lr=1e-3, **kwargs):
    adam = [torch.optim.Adam(n.parameters(), lr, betas=(0.5, 0.999)) for n in (g, d)]
    trainer = FixedPointTrainer(torch.device("cpu"), epochs, data, g, adam[0], d, adam[1], **kwargs)
    trainer.logger.setLevel(logging.WARNING)
    return trainer


def weights(*nets):
    return [p.detach().clone() for n in nets for p in n.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))


def test_five_discriminator_steps_per_generator_step():
    g, d = networks()
    trainer = trainer_for(g, d, batches(11))
    moved = {"g": [], "d": []}
    last = {"g": weights(g), "d": weights(d)}

    @trainer.on(Events.ITERATION_COMPLETED)
    def watch(engine):
        for name, net in (("g", g), ("d", d)):
            now = weights(net)
            if not same(now, last[name]):
                moved[name].append(engine.state.iteration)
            last[name] = now

    fired = []
    trainer.add_event_handler(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED, lambda e: fired.append(1))
    trainer.run()
    assert moved == {"g": [5, 10], "d": list(range(1, 12))}
    assert len(fired) == 2
    assert all(p.requires_grad for p in d.parameters())


def test_one_step_equals_the_optimizer_on_the_loss():
    g, d = networks()
    g2 = copy.deepcopy(g)
    trainer = trainer_for(g, d, batches(1), d_train_steps=1, amp=False)
    trainer.run()
    # The discriminator was updated first; the generator's step is against the updated one.
    batch = batches(1)[0]
    adam = torch.optim.Adam(g2.parameters(), 1e-3, betas=(0.5, 0.999))
    FixedPointGeneratorLoss()(g2, d, batch["image"], batch["domain"])["loss"].backward()
    adam.step()
    for a, b in zip(g.parameters(), g2.parameters()):
        torch.testing.assert_close(a, b)


def test_output_names_and_values():
    g, d = networks()
    trainer = trainer_for(g, d, batches(5))
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(dict(e.state.output)))
    trainer.run()
    names = {"loss", "d_loss", "d_critic", "d_domain", "d_penalty"}
    names |= {"g_loss", "g_adversarial", "g_domain", "g_cycle", "g_identity"}
    assert all(set(o) == names for o in seen)
    assert seen[0]["g_loss"] == 0
    assert seen[-1]["loss"] == seen[-1]["d_loss"] + seen[-1]["g_loss"]
    assert all(torch.isfinite(v) and not v.requires_grad and v.ndim == 0 for o in seen for v in o.values())


def test_the_gradient_of_the_generator_alone_is_limited():
    def norms(clip_norm):
        g, d = networks()
        trainer = trainer_for(g, d, batches(2), d_train_steps=1, clip_norm=clip_norm)
        found = {"g": [], "d": []}

        def norm_of(engine, name, network):
            gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            found[name].append(torch.cat(gradients).norm().item())

        events = AdversarialIterationEvents
        trainer.add_event_handler(events.GENERATOR_BACKWARD_COMPLETED, norm_of, "g", g)
        trainer.add_event_handler(events.DISCRIMINATOR_BACKWARD_COMPLETED, norm_of, "d", d)
        trainer.run()
        return found

    free, held = norms(None), norms(1e-3)
    assert min(free["g"] + free["d"]) > 1e-2
    assert held["g"] == pytest.approx([1e-3] * len(held["g"]), rel=1e-4)
    assert held["d"][0] == pytest.approx(free["d"][0])  # before the generators differ


class Turned(torch.nn.Module):
    """A jitter that can be told from afar."""

    def forward(self, image, gland, generator):
        assert gland.shape == image.shape
        return image.flip(2), gland.flip(2)


class UpperHalf(torch.nn.Module):
    """A head that looks at the upper half."""

    def forward(self, image):
        value = image[:, :, : SIZE // 2].sum((1, 2, 3))
        return torch.stack([torch.zeros_like(value), value], 1)


def test_the_head_judges_translations_as_the_jitter_leaves_them():
    """What it sees above lies below in the image; the critic sees the image as it is, twice the batch included."""
    d = FixedPointDiscriminator(SIZE, channels=4, num_layers=4, head=UpperHalf())
    trainer = trainer_for(networks()[0], d, batches(1), jitter=Turned())
    gland, image = torch.ones(2, 1, SIZE, SIZE, dtype=torch.bool), torch.rand(4, 1, SIZE, SIZE, requires_grad=True)
    value, logits = trainer._judge(gland, torch.Generator())(image)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), image)
    assert gradient[:, :, SIZE // 2 :].eq(1).all()
    assert gradient[:, :, : SIZE // 2].eq(0).all()
    assert torch.equal(value, d(image)[0])
    plain = trainer_for(networks()[0], d, batches(1))
    assert plain._judge(gland, torch.Generator()) is d


@pytest.mark.parametrize("stop", [3, 5])
def test_resumed_run_equals_uninterrupted_one(stop):
    data = batches(8)
    g, d = networks()
    whole = trainer_for(g, d, data, epochs=1, seed=7)
    whole.run()

    g1, d1 = networks()
    first = trainer_for(g1, d1, data, seed=7)
    saved = {}

    @first.on(Events.ITERATION_COMPLETED(once=stop))
    def save(engine):
        parts = (g1, d1, engine.g_optimizer, engine.d_optimizer)
        saved["parts"] = [copy.deepcopy(p.state_dict()) for p in parts]
        saved["trainer"] = dict(engine.state_dict())
        engine.terminate()

    first.run()
    torch.manual_seed(123)  # the global state is no part of it
    g2, d2 = networks(seed=99)
    second = trainer_for(g2, d2, data[stop:], epochs=1, seed=7, epoch_length=8)
    for part, state in zip((g2, d2, second.g_optimizer, second.d_optimizer), saved["parts"]):
        part.load_state_dict(state)
    second.load_state_dict(saved["trainer"])
    assert second.state.iteration == stop
    second.run()
    assert second.state.iteration == 8
    assert same(weights(g, d), weights(g2, d2))


def linear_decay(optimizer, half):
    """The schedule that the trainer's documentation names."""
    steady = ConstantLR(optimizer, factor=1.0, total_iters=half)
    decay = LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=half)
    return SequentialLR(optimizer, [steady, decay], milestones=[half])


def test_documented_schedule():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedule, rates = linear_decay(optimizer, 4), []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.1, 0.075, 0.05, 0.025])


def test_run_resumed_by_the_handlers(tmp_path):
    """A run killed in epoch 3 ends like an uninterrupted one: both networks, optimizers and schedules are saved."""

    def run(folder, resume=False, kill=None, seed=0):
        g, d = networks(seed)
        trainer = trainer_for(g, d, batches(5), epochs=4)
        objects = {"network": g, "optimizer": trainer.g_optimizer, "d_network": d, "d_optimizer": trainer.d_optimizer}
        objects["lr_scheduler"] = linear_decay(trainer.g_optimizer, 10)
        objects["d_lr_scheduler"] = linear_decay(trainer.d_optimizer, 10)
        LrScheduleHandler(objects["d_lr_scheduler"], print_lr=False, epoch_level=False).attach(trainer)
        TrainingRun("gan", str(folder), str(folder / "g.pt"), objects=objects, resume=resume).attach(trainer)
        if kill:
            trainer.add_event_handler(Events.ITERATION_COMPLETED(once=kill), lambda: 1 / 0)
        try:
            trainer.run()
        except ZeroDivisionError:
            assert kill
        return weights(g, d)

    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", kill=13)
    assert same(run(tmp_path / "parts", resume=True, seed=99), whole)
    generator = torch.load(tmp_path / "whole" / "g.pt")
    assert same(list(generator.values()), whole[: len(generator)])


def test_seed_matters():
    runs = []
    for seed in (0, 0, 1):
        g, d = networks()
        trainer_for(g, d, batches(5), seed=seed).run()
        runs.append(weights(g, d))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_meta_tensors_are_unwrapped():
    data = [{"image": MetaTensor(b["image"]), "domain": b["domain"].int()} for b in batches(5)]
    g, d = networks()
    trainer_for(g, d, data).run()
    g2, d2 = networks()
    trainer_for(g2, d2, batches(5)).run()
    assert same(weights(g, d), weights(g2, d2))


def test_wrong_number_of_steps():
    with pytest.raises(ValueError, match="0"):
        trainer_for(*networks(), batches(1), d_train_steps=0)


def _distributed(rank, port, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    g, d = (DistributedDataParallel(n) for n in networks(seed=rank))
    trainer_for(g, d, batches(6, seed=rank)).run()
    torch.save({"weights": weights(g, d), "grads": [p.grad is not None for p in [*g.parameters(), *d.parameters()]]},
               f"{out}/{rank}.pt")  # fmt: skip
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_reach_the_same_weights(tmp_path):
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(_distributed, (port, str(tmp_path)), nprocs=2)
    a, b = (torch.load(tmp_path / f"{r}.pt") for r in range(2))
    assert same(a["weights"], b["weights"])
    assert all(a["grads"])
    assert all(b["grads"])


@pytest.mark.slow
def test_it_learns_to_remove_the_square():
    g, d = networks()
    data = batches(20)
    trainer_for(g, d, data, epochs=60, lr=2e-3, amp=False).run()
    batch = batches(1, seed=100)[0]
    change = (batch["image"] - g.reconstruct(batch["image"])).abs()
    square = change[batch["domain"] == 1, :, 5:10, 6:12].mean()
    outside = change[batch["domain"] == 0].mean()
    assert square > 3 * outside

"""The rate of every step, beside torch's and MONAI's schedules."""

import pytest
import torch
from ignite.engine import Engine
from monai.optimizers import WarmupCosineSchedule
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, PolynomialLR, SequentialLR

from monai_ext.handlers import LearningRate

STEPS = 40


def optimizer():
    return torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.003)], lr=1)


def seen(handler, epochs=4, start=0, item=None):
    item = optimizer() if item is None else item
    rates = []

    def step(engine, _):
        rates.append([group["lr"] for group in item.param_groups])

    engine = Engine(step)
    handler.attach(engine, item)
    engine.state.max_epochs = epochs
    engine.run([0] * (STEPS // epochs), max_epochs=epochs)
    return torch.tensor(rates[start:])


def reference(make):
    item = optimizer()
    schedule, rates = make(item), []
    for _ in range(STEPS):
        rates.append([group["lr"] for group in item.param_groups])
        item.step()
        schedule.step()
    return torch.tensor(rates)


@pytest.mark.parametrize(
    ("handler", "make"),
    [
        (LearningRate("cosine"), lambda o: CosineAnnealingLR(o, T_max=STEPS)),
        (LearningRate("polynomial"), lambda o: PolynomialLR(o, total_iters=STEPS, power=0.9)),
        (
            LearningRate("cosine", warmup=0.25),
            lambda o: WarmupCosineSchedule(o, warmup_steps=STEPS // 4, t_total=STEPS),
        ),
        (LearningRate("polynomial", warmup=0.25, head_start=0.25), lambda o: sawtooth(o)),
        (LearningRate("constant"), lambda o: CosineAnnealingLR(o, T_max=STEPS, eta_min=0.0) and _constant(o)),
    ],
)
def test_equals_the_published_schedule(handler, make):
    torch.testing.assert_close(seen(handler), reference(make), rtol=1e-6, atol=1e-9)


def _constant(item):
    for group, lr in zip(item.param_groups, (0.1, 0.003)):
        group["lr"] = lr
    return torch.optim.lr_scheduler.ConstantLR(item, factor=1.0)


def sawtooth(item):
    """Rise and fall in ten steps, rise in ten, fall in twenty."""
    rise = [LambdaLR(item, lambda step, steps=steps: step / steps) for steps in (5, 10)]
    fall = [PolynomialLR(item, total_iters=steps, power=0.9) for steps in (5, 20)]
    parts = [rise[0], fall[0], rise[1], fall[1]]
    for group, lr in zip(item.param_groups, (0.1, 0.003)):
        group["lr"] = group["initial_lr"] = lr
    return SequentialLR(item, parts, milestones=[5, 10, 20])


def test_linear_is_constant_over_the_first_half_and_ends_at_zero():
    rate = LearningRate("linear")
    assert [rate.factor(step, 8) for step in range(9)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]


def test_does_not_depend_on_what_a_checkpoint_put_into_the_optimizer():
    """A resumed run loads the rates of its last step; the next ones follow from the step alone."""
    item, handler = optimizer(), LearningRate("cosine")
    whole = seen(handler, item=item)
    item.load_state_dict(item.state_dict())  # which makes new groups
    assert item.param_groups[0]["lr"] != 0.1
    engine = Engine(lambda engine, _: None)
    engine.state.max_epochs, engine.state.epoch_length, engine.state.iteration = 4, STEPS // 4, 21
    handler(engine)
    assert item.param_groups[0]["lr"] == pytest.approx(float(whole[20, 0]))


@pytest.mark.parametrize(
    "arguments", [{"shape": "step"}, {"warmup": 1.0}, {"warmup": -0.1}, {"warmup": 0.5, "head_start": 0.5}]
)
def test_refuses(arguments):
    with pytest.raises(ValueError, match=r"shape|warmup|head_start"):
        LearningRate(**arguments)

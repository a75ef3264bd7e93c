import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_ext.handlers import EMA, TakeAverage


def test_the_last_iteration_ends_with_the_average():
    """Weights 1, 2, ..., 6 with momentum 1/2: the average follows by hand, and is seen by what comes after."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    ema, seen, due = EMA(network, momentum=0.5, final_momentum=0.5), [], 0.0

    def step(engine, batch):
        nn.init.constant_(network.weight, float(engine.state.iteration))

    engine = Engine(step)
    ema.attach(engine)
    TakeAverage(ema).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: seen.append(float(network.weight)))
    engine.run(range(3), max_epochs=2)
    for value in range(1, 7):
        due = (due + value) / 2
    assert seen == [3.0, due]
    assert torch.equal(network.weight, ema.teacher.weight)
    assert network.weight.requires_grad

import torch
from ignite.engine import Engine
from torch import nn

from monai_ext.handlers import FreezeUntil


def test_part_learns_from_the_epoch_after():
    net = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    net["encoder"].register_parameter("fixed", nn.Parameter(torch.zeros(1), requires_grad=False))
    seen = []
    engine = Engine(lambda engine, batch: seen.append([p.requires_grad for p in net.parameters()]))
    FreezeUntil(net["encoder"], 2).attach(engine)
    engine.run([0], max_epochs=3)
    assert not net["encoder"].fixed.requires_grad
    assert seen[0] == seen[1]
    assert seen[0].count(True) == 2
    assert seen[2].count(True) == 4


def test_nothing_is_frozen_without_a_pretrained_part():
    net, seen = nn.Linear(2, 2), []
    engine = Engine(lambda engine, batch: seen.append([p.requires_grad for p in net.parameters()]))
    FreezeUntil(None, 2).attach(engine)
    engine.run([0], max_epochs=1)
    assert seen == [[True, True]]

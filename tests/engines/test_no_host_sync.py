"""No training step of any method asks the device for a number, which would make the host wait for it."""

import pytest
import torch
from host_syncs import HostSyncs
from ignite.engine import Events
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from phase_steps import PHASES, Phase, run_steps

from monai_ext.engines import SegmentationTrainer
from monai_ext.phases.gland import gland_unet

RIVAL = Phase(
    "amlp",
    "contrastive",
    "$[len(@modalities), *@img_size]",
    small={"img_size": [64, 64], "features": [4, 4, 8, 8, 8], "batch_size": 4},
)


@pytest.mark.parametrize("phase", [*PHASES, RIVAL], ids=lambda phase: phase.name)
def test_a_step_never_waits_for_the_device(phase):
    syncs = HostSyncs()
    run_steps(phase, "cpu", 2, phase.small, inside=syncs)  # the Fixed-Point GAN's generator has its turn in step 2
    assert syncs.found == []


def test_a_step_of_the_gland_network_never_waits():
    network = gland_unet()
    batch = {"image": torch.randn(2, 1, 32, 32, 16), "label": torch.ones(2, 1, 32, 32, 16)}
    optimizer, loss = torch.optim.AdamW(network.parameters()), DiceCELoss(softmax=True, to_onehot_y=True)
    trainer = SegmentationTrainer(torch.device("cpu"), 1, [batch] * 2, network, optimizer, loss, SimpleInferer())
    syncs = HostSyncs()
    trainer.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: syncs.__enter__())
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: syncs.__exit__(None, None, None))
    trainer.run()
    assert syncs.found == []


@pytest.mark.parametrize(
    ("code", "call"),
    [
        (lambda x: x.sum().item(), "item"),
        (lambda x: float(x.max()), "__float__"),
        (lambda x: 1 if x.any() else 0, "__bool__"),
        (lambda x: x.shape[0] + x.argmax().tolist(), "tolist"),
        (lambda x: x[x > 1], "index by a mask"),
        (lambda x: torch.where(x > 1), "nonzero"),
        (lambda x: x.masked_select(x > 1), "masked_select"),
        (lambda x: x.repeat_interleave(x.long()), "repeat_interleave"),
        (lambda x: x + torch.tensor(1.0), "tensor"),
        (lambda x: torch.unique(x), "_unique2"),
        (lambda x: x.cpu(), "cpu"),
    ],
)
def test_calls_that_wait_are_found(code, call):
    with HostSyncs() as syncs:
        code(torch.arange(4.0))
    assert any(call in found and __file__ in found for found in syncs.found), syncs.found


def test_calls_of_the_backward_pass_are_found():
    class Waits(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * grad.sum().item()

    with HostSyncs() as syncs:
        Waits.apply(torch.ones(2, requires_grad=True)).sum().backward()
    assert len(syncs.found) >= 1


def test_what_does_not_wait_is_not_found():
    x = torch.arange(6.0).view(2, 3)
    with HostSyncs() as syncs:
        y = torch.where(x > 1, x, 0).topk(2).values.sum(0)
        x[:, torch.arange(2)].softmax(1).masked_fill(x[:, :2] > 2, 0).scatter_(1, x[:, :1].long() * 0, x[:, 1:])
        assert y.shape[0] + len(x) == 4
    assert syncs.found == []

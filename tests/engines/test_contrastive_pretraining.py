import pytest
import torch
from ignite.engine import Events
from torch.utils.data import DataLoader

from monai_ext.engines import ContrastivePretrainer
from monai_ext.networks.nets import BYOL, SimCLR, SwAV, UNetEncoder
from monai_ext.transforms.views import RandomView

HEADS = {"features": 16, "hidden": 32, "out_features": 16}


def items(count=16):
    """Waves of different direction and frequency: views of one image resemble each other."""
    axis = torch.linspace(0, 6.28, 32)
    return [{"image": torch.sin((1 + i % 4) * axis[:, None] + (i // 4) * 2 * axis)[None]} for i in range(count)]


def trainer(method, epochs, losses):
    torch.manual_seed(0)
    network = method(UNetEncoder(1, (4, 8, 16)), **HEADS)
    loader = DataLoader(items(), batch_size=16)
    view = RandomView(area=(0.6, 1.0), degrees=5, flips=False)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    engine = ContrastivePretrainer(torch.device("cpu"), epochs, loader, network, view, optimizer, amp=False)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"].item()))
    return engine


@pytest.mark.parametrize("method", [SimCLR, BYOL, SwAV])
def test_the_loss_falls(method):
    losses = []
    trainer(method, 25, losses).run()
    assert len(losses) == 25
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_views_depend_on_seed_and_iteration_alone():
    losses = [[], []]
    for found in losses:
        trainer(SimCLR, 2, found).run()
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]

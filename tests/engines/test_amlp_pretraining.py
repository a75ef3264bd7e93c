"""Masker, network and loss of AMLP in the step that all masked pretraining shares."""

import pytest
import torch
from ignite.engine import Events
from monai.networks.nets import BasicUNet
from torch.utils.data import DataLoader

from monai_ext.engines import MaskedPretrainer
from monai_ext.losses import AMLPLoss, MaskedPatchLoss
from monai_ext.maskers import AdaptiveLesionMasker, PatchClustering, RisingRatio
from monai_ext.networks.blocks import clustering
from monai_ext.networks.nets import MaskedImageModel

PATCH, EPOCHS = (4, 4), 12


def items(count=8):
    """Smooth heads in air with a brighter patch."""
    axis = torch.linspace(-1.2, 1.2, 64)
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    heads = [
        (radius < 1) * (1 + 0.3 * torch.sin(6 * axis + i) * torch.cos(5 * axis[:, None] * i)) for i in range(count)
    ]
    for i, head in enumerate(heads):
        head[20 + i : 28 + i, 30:40] += 1
    return [{"image": (head - head.mean())[None] / head.std()} for head in heads]


@pytest.mark.parametrize("mode", ["soft", "literal"])
def test_it_learns_with_one_clustering_per_step_and_a_rising_ratio(mode, monkeypatch):
    calls, masked = [], []
    original = clustering.two_means
    monkeypatch.setattr(clustering, "two_means", lambda *args: calls.append(1) or original(*args))
    torch.manual_seed(0)
    network = MaskedImageModel(BasicUNet(2, 1, 1, features=(8, 8, 16, 16, 16, 8)), PATCH)
    cluster = PatchClustering(PATCH)
    masker = AdaptiveLesionMasker(cluster, RisingRatio(EPOCHS, final=0.6))
    trainer = MaskedPretrainer(
        torch.device("cpu"),
        EPOCHS,
        DataLoader(items(), batch_size=4, shuffle=True),
        network,
        masker,
        AMLPLoss(PATCH, cluster, mode=mode),
        torch.optim.AdamW(network.parameters(), 3e-3),
        amp=False,
    )
    errors = []
    plain = MaskedPatchLoss(PATCH, normalize=False)

    def record(engine):
        output = engine.state.output
        masked.append(output["mask"].sum(1).unique().tolist())
        errors.append(plain(output["pred"], output["image"], output["mask"]).item())

    trainer.add_event_handler(Events.ITERATION_COMPLETED, record)
    trainer.run()
    assert len(calls) == 2 * EPOCHS
    assert masked[0] == [64]
    assert masked[-1] == [int(256 * 0.6)]
    assert sum(errors[-4:]) < 0.6 * sum(errors[:4])

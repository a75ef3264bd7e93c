import pytest
import torch
from torch.utils.data import DataLoader

from monai_ext.engines import MaskedEvaluator, MaskedPretrainer
from monai_ext.errors import TrainingError
from monai_ext.handlers import NaNGuard, TrainingRun
from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import Masker, RandomMasker
from monai_ext.networks import param_groups
from monai_ext.networks.nets import MAEEncoder, MaskedAutoencoder


def items(count=6, size=16):
    x = torch.linspace(0, 6, size)
    return [{"image": (torch.sin(x + i) * torch.cos(x * i)[:, None])[None].repeat(2, 1, 1)} for i in range(count)]


def network():
    torch.manual_seed(0)
    encoder = MAEEncoder(2, 16, 4, embed_dim=16, depth=1, num_heads=2)
    return MaskedAutoencoder(encoder, decoder_dim=16, decoder_depth=1, decoder_num_heads=2)


def trainer(net, epochs, handlers=(), data=None, masker=None, amp=False):
    return MaskedPretrainer(
        torch.device("cpu"),
        epochs,
        DataLoader(items() if data is None else data, batch_size=3, shuffle=True),
        net,
        RandomMasker(16) if masker is None else masker,
        MaskedPatchLoss((4, 4), normalize=False),
        torch.optim.AdamW(param_groups(net, 0.05), lr=3e-3),
        amp=amp,
        train_handlers=handlers,
    )


def evaluator(net):
    loader = DataLoader(items(), batch_size=4)
    return MaskedEvaluator(
        torch.device("cpu"), loader, net, RandomMasker(16), MaskedPatchLoss((4, 4), normalize=False), amp=False
    )


@pytest.mark.parametrize("amp", [False, True])
def test_learns_to_reconstruct(amp):
    net = network()
    val = evaluator(net)
    val.run()
    before = val.state.metrics["val_loss"]
    trainer(net, 60, amp=amp).run()
    val.run()
    assert val.state.metrics["val_loss"] < 0.5 * before


def test_validation_uses_the_same_masks_every_time():
    val = evaluator(network())
    losses = []
    for _ in range(2):
        val.run()
        losses.append(val.state.metrics["val_loss"])
    assert losses[0] == losses[1]


def test_progress_and_masks_follow_the_schedule():
    class Recorder(Masker):
        def __init__(self):
            super().__init__()
            self.seen, self.random = [], RandomMasker(16)

        def forward(self, batch, progress=0.0, generator=None):
            mask = self.random(batch, progress, generator)
            self.seen.append((progress, mask))
            return mask

    masker = Recorder()
    trainer(network(), 4, masker=masker).run()
    assert [progress for progress, _ in masker.seen] == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert len({tuple(mask.flatten().tolist()) for _, mask in masker.seen}) == 8


def test_nan_stops_the_run_before_anything_is_saved(tmp_path):
    data = items()
    data[0]["image"] = data[0]["image"] * float("nan")
    net = network()
    run = TrainingRun("pretraining", str(tmp_path), str(tmp_path / "model.pt"))
    with pytest.raises(TrainingError, match="loss became nan"):
        trainer(net, 2, [run], data).run()
    assert not list(tmp_path.glob("*.pt"))


def test_nan_guard_looks_within_a_long_epoch():
    data = items(300)
    for item in data[::6]:
        item["image"] = item["image"] * float("inf")
    engine = trainer(network(), 1, [NaNGuard(interval=10)], data)
    with pytest.raises(TrainingError):
        engine.run()
    assert engine.state.iteration % 10 == 0
    assert engine.state.iteration < 100


def test_param_groups():
    net = network()
    groups = param_groups(net, 0.05, {"encoder": 1e-6})
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))
    names = {id(p): n for n, p in net.named_parameters()}
    for group in groups:
        for p in group["params"]:
            name = names[id(p)]
            assert (group["weight_decay"] == 0) == (name.endswith("bias") or "norm" in name or name == "mask_token")
            assert group.get("lr") == (1e-6 if name.startswith("encoder") else None)
    with pytest.raises(ValueError, match="decoder"):
        param_groups(net, 0, {"decoder": 1})

import pytest
import torch
from ignite.engine import Events
from torch.utils.data import DataLoader

from monai_ext.engines import ReconstructionTraining
from monai_ext.errors import ConfigError
from monai_ext.networks.nets import Reconstructor, build_reconstructor

SIZE = 32
OPTIONS = {
    "dense": {"latent_dim": 8, "dropout": 0.0},
    "spatial": {},
    "fixed_point": {"channels": 8, "num_blocks": 1},
    "restorer": {"channels": (8, 16)},
    "diffusion": {
        "channels": [8, 16],
        "attention_levels": [False, True],
        "num_res_blocks": 1,
        "num_head_channels": 8,
        "norm_num_groups": 4,
        "noise_level": 100,
        "stride": 50,
    },
}
DISCRIMINATOR = {"channels": 8, "num_layers": 3}


def images():
    generator = torch.Generator().manual_seed(0)
    blobs = torch.rand(8, 1, 4, 4, generator=generator)
    image = torch.nn.functional.interpolate(blobs, SIZE, mode="bilinear") * 1.6 - 0.8
    return [{"image": image[i], "domain": i % 2} for i in range(8)]


def train(name, epochs, amp=False, state=None):
    torch.manual_seed(0)
    network = build_reconstructor(name, SIZE, **OPTIONS[name])
    method = ReconstructionTraining(name, network, SIZE, 8, lr=1e-3, discriminator=DISCRIMINATOR, amp=amp)
    if state is not None:
        for key, item in method.objects.items():
            item.load_state_dict(state[key])
    trainer = method.trainer(8 if state is None else epochs, DataLoader(images(), batch_size=4), [])
    return network, method, trainer


@pytest.mark.parametrize("name", OPTIONS)
def test_one_command_trains_any_of_them(name):
    network, _, trainer = train(name, 8)
    assert isinstance(network, Reconstructor)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    losses = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def keep(engine):
        losses.append(float(engine.state.output["loss"]))

    trainer.run()
    assert len(losses) == 16
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]
    assert len(changed) > 0.8 * len([p for p in network.parameters() if p.requires_grad])
    out = network.reconstruct(torch.stack([item["image"] for item in images()]))
    assert out.shape == (8, 1, SIZE, SIZE)
    assert torch.isfinite(out).all()
    if name in ("dense", "spatial"):
        assert sum(losses[-4:]) < sum(losses[:4])


def test_schedule_is_flat_and_then_falls_to_zero():
    _, method, _ = train("spatial", 1)
    rates = []
    for _ in range(8):
        rates.append(method.optimizers["network"].param_groups[0]["lr"])
        method.optimizers["network"].step()
        method.schedules.step()
    assert rates == pytest.approx([1e-3] * 5 + [7.5e-4, 5e-4, 2.5e-4])


def test_schedule_survives_a_resume():
    _, one, _ = train("fixed_point", 1)
    for _ in range(6):
        one.schedules.step()
    _, other, _ = train("fixed_point", 1)
    for key, item in other.objects.items():
        item.load_state_dict(one.objects[key].state_dict())
    one.schedules.step()
    other.schedules.step()
    for key in one.optimizers:
        assert one.optimizers[key].param_groups[0]["lr"] == other.optimizers[key].param_groups[0]["lr"]


def test_names_are_checked():
    with pytest.raises(ConfigError, match="'gan' is none of constant, dense, spatial, diffusion, fixed_point"):
        build_reconstructor("gan")
    with pytest.raises(ConfigError, match="reconstructor dense"):
        build_reconstructor("dense", 32, chanels=3)
    with pytest.raises(ConfigError, match="is none of"):
        ReconstructionTraining("gan", torch.nn.Linear(1, 1), 32, 1)


def test_paper_sizes():
    """Fixed-Point GAN: 8.4 M parameters in the generator (notes of its authors)."""
    generator = build_reconstructor("fixed_point", 128)
    assert sum(p.numel() for p in generator.parameters()) / 1e6 == pytest.approx(8.4, abs=0.1)

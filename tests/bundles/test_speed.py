"""What makes a step faster changes nothing that it computes."""

import pytest
import torch
from phase_steps import PHASES, run_steps

OPTIMIZED = [phase for phase in PHASES if not phase.domain]  # the generators' are fused in their recipe


def losses(phase, **settings):
    return run_steps(phase, "cpu", 4, {**phase.small, "amp": False, **settings}).losses


@pytest.mark.parametrize("phase", OPTIMIZED, ids=lambda phase: phase.name)
def test_a_fused_optimizer_gives_the_losses_of_the_plain_one(phase):
    plain = losses(phase, **{"optimizer#fused": False})
    assert losses(phase) == pytest.approx(plain, rel=1e-3)
    assert plain[-1] != plain[0]


def test_every_training_has_a_fused_optimizer_and_the_workers_of_its_device(configs):
    for file, config in configs.items():
        if "optimizer" in config:
            assert config["optimizer"]["fused"] is True, file
        if "num_workers" in config:
            assert config["num_workers"] == "$monai_ext.processes.loading_workers(@device)", file


@pytest.mark.slow
@pytest.mark.parametrize("phase", OPTIMIZED, ids=lambda phase: phase.name)
def test_a_compiled_network_gives_the_losses_of_the_plain_one(phase):
    """Traced and differentiated by torch.compile, without its code generator, which takes minutes."""
    network = "$monai_ext.networks.compiled(@network_def.to(@device), backend='aot_eager')"
    torch._dynamo.reset()
    assert losses(phase, network=network) == pytest.approx(losses(phase), rel=1e-3)

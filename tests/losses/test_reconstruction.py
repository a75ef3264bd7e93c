import numpy as np
import pytest
import torch

from monai_ext.losses.reconstruction import AutoencoderLoss


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_mean_distance_to_what_the_network_makes(norm, power):
    image = torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = AutoencoderLoss(norm)(lambda x: (0.5 * x).half(), image, torch.tensor([0, 1]))["loss"]
    due = (np.abs(image.detach().numpy() / 2) ** power).mean()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(due, rel=1e-3)  # the network's half precision
    loss.backward()
    assert image.grad.abs().sum() > 0


def test_perfect_reconstruction_costs_nothing():
    assert AutoencoderLoss()(lambda x: x, torch.randn(1, 1, 3, 3), torch.zeros(1))["loss"] == 0


def test_other_norms_are_refused():
    with pytest.raises(ValueError, match="l3"):
        AutoencoderLoss("l3")

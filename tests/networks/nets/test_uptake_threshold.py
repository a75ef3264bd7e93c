import pytest
import torch

from monai_ext.networks.nets import UptakeThreshold


@pytest.mark.parametrize("threshold", [2.5, 4.0])
def test_lesion_is_what_exceeds_the_threshold(threshold):
    suv = torch.tensor([0.0, 2.4, 2.6, 3.9, 4.1, 50.0])
    image = torch.stack([torch.randn(6), (suv - 7.09) / 8.01])[None, :, :, None, None]
    network = UptakeThreshold(threshold)
    torch.testing.assert_close(network.suv(image).flatten(), suv, atol=1e-5, rtol=0)
    logits = network(image)
    assert logits.shape == (1, 2, 6, 1, 1)
    assert torch.equal(logits.argmax(1).flatten().bool(), suv > threshold)
    assert ((logits.softmax(1) > 0.99) | (logits.softmax(1) < 0.01)).all()


def test_threshold_is_state_and_other_scales_are_known():
    network = UptakeThreshold(channel=0, mean=0.0, std=1.0)
    network.load_state_dict(UptakeThreshold(3.0).state_dict())
    assert network(torch.tensor([2.9, 3.1]).view(1, 1, 2)).argmax(1).flatten().tolist() == [0, 1]
    assert not list(network.parameters())

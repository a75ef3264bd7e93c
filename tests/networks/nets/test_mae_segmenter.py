import pytest
import torch

from monai_ext.networks.nets import MAESegmenter


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MAESegmenter(depth=2, embed_dim=48, num_heads=4, decoder_channels=16)


def test_logits_on_the_grid_of_the_image_and_every_parameter_learns(net):
    logits = net(torch.randn(2, 3, 88, 88))
    assert logits.shape == (2, 2, 88, 88)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_slices_do_not_influence_each_other(net):
    x = torch.randn(3, 3, 88, 88)
    assert torch.allclose(net(x)[1:2], net(x[1:2]), atol=1e-5)


def test_patch_embedding_reaches_the_fusion(net):
    """With the encoder's output held fixed, the image still changes the result through the skip connection."""
    net.encoder.norm.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    assert not torch.allclose(net(torch.zeros(1, 3, 88, 88)), net(torch.randn(1, 3, 88, 88)))


def test_up_sampling_blocks():
    assert len(MAESegmenter(depth=1).up) == 3
    assert len(MAESegmenter(depth=1, patch_size=4).up) == 2
    with pytest.raises(ValueError, match="11"):
        MAESegmenter(patch_size=11)

import pytest
import torch

from monai_ext.networks.nets import DomainHead, FixedPointDiscriminator


def test_the_slice_is_the_smooth_maximum_of_its_patches():
    torch.manual_seed(0)
    head = DomainHead(channels=4, sharpness=3.0)
    image = torch.rand(2, 1, 32, 32)
    patches = head.evidence(image).flatten(1).double()
    expected = (3 * patches).exp().mean(1).log() / 3
    logits = head(image)
    torch.testing.assert_close(logits[:, 1].double(), expected, rtol=1e-4, atol=1e-5)
    assert (logits[:, 0] == 0).all()


def test_a_patch_sees_twenty_four_pixels():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 48, 48, requires_grad=True)
    DomainHead(channels=4).evidence(image)[0, 0, 6, 6].backward()
    seen = image.grad[0, 0].abs() > 0
    assert (seen.any(0).sum(), seen.any(1).sum()) == (24, 24)


def test_a_discriminator_takes_its_logits_and_never_teaches_it():
    head = DomainHead(channels=4)
    discriminator = FixedPointDiscriminator(32, channels=4, num_layers=3, head=head)
    image = torch.rand(2, 1, 32, 32)
    critic, logits = discriminator(image)
    assert torch.equal(logits, head(image))
    critic.sum().backward()
    learning = {name for name, p in discriminator.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("head", "classifier")) for name in learning)
    assert all(p.grad is not None for name, p in discriminator.named_parameters() if name in learning)


@pytest.mark.parametrize("channels", [4, 16])
def test_it_is_small(channels):
    assert sum(p.numel() for p in DomainHead(channels=channels).parameters()) < 110_000

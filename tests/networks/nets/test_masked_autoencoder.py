import pytest
import torch

from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import RandomMasker
from monai_ext.networks.blocks import mask_to_image
from monai_ext.networks.nets import MAEEncoder, MaskedAutoencoder


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MaskedAutoencoder(
        MAEEncoder(depth=2, embed_dim=48, num_heads=4), decoder_dim=24, decoder_depth=2, decoder_num_heads=4
    )


@pytest.fixture
def batch():
    torch.manual_seed(1)
    image = torch.randn(3, 3, 88, 88)
    return image, RandomMasker(121)({"image": image})


def test_encoder_sees_30_of_121_tokens_and_no_masked_pixel(net, batch):
    image, mask = batch
    seen = []
    net.encoder.norm.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    net(image, mask)
    hidden = mask_to_image(mask, (88, 88), (8, 8))
    net(torch.where(hidden, torch.randn_like(image) * 100, image), mask)
    net(torch.where(hidden, image, image + 1), mask)
    assert seen[0].shape == (3, 30, 48)
    assert torch.equal(seen[0], seen[1])
    assert not torch.allclose(seen[0], seen[2])


def test_predictions_belong_to_their_patches(net, batch):
    """Shuffling samples shuffles predictions; each masked patch has one, each visible patch has zeros."""
    image, mask = batch
    pred = net(image, mask)
    assert torch.equal(pred.abs().sum(-1) > 0, mask)
    order = [2, 0, 1]
    assert torch.allclose(net(image[order], mask[order]), pred[order], atol=1e-5)


def test_equals_a_decoder_that_unshuffles_and_reads_every_token(net, batch):
    """The textbook form: tokens put back in place, all blocks on all tokens, the masked ones read at the end."""
    image, mask = batch
    expected = torch.zeros(3, 121, 192)
    for b in range(3):
        visible = (~mask[b]).nonzero().squeeze(1)
        tokens = net.encoder.forward_visible(image[b : b + 1], visible[None])
        x = net.mask_token.expand(1, 121, -1).clone()
        x[:, visible] = net.decoder_embed(tokens)
        x = x + net.positions
        for block in net.decoder_blocks:
            x = block(x)
        expected[b] = net.decoder_pred(net.decoder_norm(x))[0] * mask[b, :, None]
    assert torch.allclose(net(image, mask), expected, atol=1e-5)


def test_encoding_all_patches_equals_the_convolutional_embedding(net):
    image = torch.randn(2, 3, 88, 88)
    embedding, tokens = net.encoder(image)
    conv = net.encoder.patch_embed.proj(image).flatten(2).transpose(1, 2)
    assert torch.allclose(embedding, conv, atol=1e-4)
    assert torch.allclose(tokens, net.encoder.forward_visible(image, torch.arange(121).expand(2, -1)), atol=1e-5)


def test_every_parameter_learns(net, batch):
    image, mask = batch
    MaskedPatchLoss((8, 8))(net(image, mask), image, mask).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_wrong_number_of_masked_patches_is_refused(net, batch):
    image, mask = batch
    with pytest.raises(RuntimeError):
        net(image, torch.zeros_like(mask))


def test_wrong_image_size_is_refused(net):
    with pytest.raises(ValueError, match="96"):
        net.encoder(torch.zeros(1, 3, 96, 96))


def test_size_of_the_papers_network():
    with torch.device("meta"):
        net = MaskedAutoencoder()
    assert net.num_visible == 30
    assert len(net.encoder.blocks) == 12
    assert len(net.decoder_blocks) == 4
    assert sum(p.numel() for p in net.parameters()) == 23_259_456

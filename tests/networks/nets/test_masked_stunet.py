import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import nn

from monai_ext.errors import CheckpointError
from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import AnatoMasker, RandomMasker
from monai_ext.networks import load_weights
from monai_ext.networks.blocks import VisiblePatches, mask_to_image
from monai_ext.networks.nets import MaskedSTUNet, STUNet
from monai_ext.networks.nets.masked_stunet import _ReLU6

SIZE, PATCH, GRID = (48, 32, 32), (16, 16, 16), (3, 2, 2)


def case(batch=2, channels=1, seed=0, **kwargs):
    torch.manual_seed(seed)
    network = MaskedSTUNet(channels, size="S", **kwargs)
    # Norms and convolutions away from their symmetric start, so that nothing vanishes by accident.
    for p in network.parameters():
        if p.ndim == 1:
            nn.init.normal_(p, mean=0.5, std=0.5)
    image = torch.randn(batch, channels, *SIZE)
    mask = RandomMasker(12, 0.6)({"image": image})
    return network, image, mask


@pytest.mark.parametrize("pooled", [False, True])
def test_hidden_voxels_change_no_feature_of_the_encoder(pooled):
    network, image, mask = case(pooled=pooled)
    hidden = mask_to_image(mask, SIZE, PATCH)
    outputs: list[torch.Tensor] = []
    for module in network.encoder.modules():
        if type(module).__name__ in ("InstanceNorm", "SubmanifoldConv3d", "Conv3d", "STUNetBlock", "Stage"):
            module.register_forward_hook(lambda m, inputs, out: outputs.append(out.detach().clone()))
    for fill in (0.0, 1e6, float("nan")):
        network(image.masked_fill(hidden, fill), mask)
    runs = [outputs[i::1][: len(outputs) // 3] for i in (0, len(outputs) // 3, 2 * len(outputs) // 3)]
    assert len(runs[0]) == 5 + 5 + 5 * 5
    for zeros, huge, nan in zip(*runs):
        assert torch.equal(zeros, huge)
        assert torch.equal(zeros, nan)


def test_visible_voxels_do_change_features():
    network, image, mask = case()
    features: dict[int, list[torch.Tensor]] = {}
    for i, stage in enumerate(network.encoder.stages):
        stage.register_forward_hook(lambda m, inputs, out, i=i: features.setdefault(i, []).append(out.detach().clone()))
    network(image, mask)
    network(image + mask_to_image(~mask, SIZE, PATCH) * torch.randn_like(image), mask)
    assert len(features) == 5
    assert not any(torch.equal(before, after) for before, after in features.values())


def hidden_in(x, mask):
    """The mask on the grid of some features."""
    return mask_to_image(mask, x.shape[2:], [16 * n // s for n, s in zip(x.shape[2:], SIZE)])


def plain_norm(x, module, mask, eps):
    """The norm over visible voxels, sample by sample, by gathering them."""
    seen = (~hidden_in(x, mask)).expand_as(x)
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        rows = x[b][seen[b]].view(x.shape[1], -1)
        normed = F.batch_norm(rows.T, None, None, module.weight, module.bias, training=True, eps=eps)
        out[b][seen[b]] = normed.T.flatten()
    return out


def plain_encoder(network, image, mask):
    """A plain submanifold encoder: the mask at every operation, norms by gathering."""

    def hide(x):
        return x * ~hidden_in(x, mask)

    def norm(x, module):
        return plain_norm(x, module, mask, 1e-5)

    x, features = hide(image), []
    for stage in network.encoder.stages:
        for block in stage:
            y = F.leaky_relu(norm(hide(block.conv1(x)), block.norm1), 0.01)
            y = norm(hide(block.conv2(y)), block.norm2)
            x = F.leaky_relu(y + (x if block.skip is None else hide(block.skip(x))), 0.01)
        features.append(x)
    return features


def test_encoder_equals_the_mask_at_every_operation():
    network, image, mask = case()
    visible = VisiblePatches(mask, GRID)
    ours = network.encoder(image, visible)
    for mine, its in zip(ours, plain_encoder(network, image, mask)):
        dense = visible.unstack(mine, torch.zeros(mine.shape[1]))
        torch.testing.assert_close(dense, its, rtol=1e-4, atol=1e-5)


def plain_decoder(decoder, features, mask):
    """SparK's decoder as published: densify norms with an eps of 1e-6, tokens in hidden cells, sums on the way up."""
    x = 0
    for densify, block, feature in zip(decoder.densify, decoder.blocks, features[:0:-1]):
        dense = plain_norm(feature, densify.norm, mask, 1e-6)
        dense = torch.where(hidden_in(dense, mask), densify.token.view(1, -1, 1, 1, 1), dense)
        x = block.up(x + (dense if densify.proj is None else densify.proj(dense)))
        for conv, norm in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
            x = F.instance_norm(conv(x), weight=norm.weight, bias=norm.bias, eps=1e-5)
            x = x.clamp(0, 6) if conv is block.conv1 else x
    return torch.einsum("oc,bcxyz->boxyz", decoder.proj.weight, x) + decoder.proj.bias.view(-1, 1, 1, 1)


@pytest.mark.parametrize("scale", [1.0, 3e-3])
def test_network_equals_the_published_design(scale):
    """Also where features vary so little that the eps of a norm counts."""
    network, image, mask = case()
    with torch.no_grad():
        for stage in network.encoder.stages:
            stage[-1].norm2.weight.mul_(scale)
            stage[-1].norm2.bias.mul_(scale)
            if stage[-1].skip is not None:
                stage[-1].skip.weight.mul_(scale)
                stage[-1].skip.bias.mul_(scale)
    expected = plain_decoder(network.decoder, plain_encoder(network, image, mask), mask)
    torch.testing.assert_close(network(image, mask), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("decoder", ["hierarchical", "simple"])
def test_samples_of_a_batch_do_not_influence_each_other(decoder):
    network, image, mask = case(decoder=decoder)
    image.requires_grad_()
    pred = network(image, mask)
    (grad,) = torch.autograd.grad(pred[0].square().sum(), image)
    assert grad[0].abs().sum() > 0
    assert (grad[1] == 0).all()
    torch.testing.assert_close(network(image[:1], mask[:1]), pred[:1], rtol=1e-4, atol=1e-5)


def test_the_published_pooled_norms_do_couple_samples():
    network, image, mask = case(pooled=True)
    image.requires_grad_()
    features = network.encoder(image, VisiblePatches(mask, GRID))
    assert torch.autograd.grad(features[0][0].square().sum(), image)[0][1].abs().sum() > 0


@pytest.mark.parametrize("decoder", ["hierarchical", "simple"])
@pytest.mark.parametrize("pooled", [False, True])
def test_every_parameter_gets_a_gradient(decoder, pooled):
    network, image, mask = case(decoder=decoder, pooled=pooled)
    MaskedPatchLoss(PATCH)(network(image, mask), image, mask).backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert not [name for name, grad in gradients.items() if grad is None]
    # A bias before a norm is taken out again by it; everything else must matter.
    cancelled = ("conv1.bias", "conv2.bias", "up.bias")
    assert not [n for n, grad in gradients.items() if not n.endswith(cancelled) and grad.abs().max() == 0]


def test_predicts_an_image_or_patches_of_several_channels_and_odd_strides():
    strides = ((2, 2, 2), (2, 2, 2), (1, 2, 2))
    network, image, mask = case(channels=2, strides=strides)
    assert network.patch_size == (4, 8, 8)
    mask = RandomMasker(12 * 4 * 4, 0.6)({"image": image})
    assert network(image, mask).shape == image.shape
    simple = MaskedSTUNet(2, "S", strides, decoder="simple")
    assert simple(image, mask).shape == (2, 192, 4 * 8 * 8 * 2)
    for net in (network, simple):
        assert MaskedPatchLoss((4, 8, 8))(net(image, mask), image, mask).isfinite()


def test_shares_its_encoder_with_the_segmentation_network(tmp_path):
    pretrained, image, _ = case()
    torch.save(pretrained.state_dict(), tmp_path / "pretrained.pt")
    network = STUNet(num_classes=3, size="S")
    report = load_weights(network, tmp_path / "pretrained.pt", part="encoder", min_share=0.8)
    assert len(report.matched) == 5 * 10
    assert all(name.startswith("encoder.stages.5.") for name in report.missing)
    assert all(name.startswith("decoder.") for name in report.unexpected)
    image = image.double()  # the two lie in memory differently, which rounds differently
    for mine, its in zip(network.double().encoder(image), pretrained.double().encoder(image)):
        torch.testing.assert_close(mine, its)
    with pytest.raises(CheckpointError, match="only 0 of 60"):
        load_weights(STUNet(num_classes=3, size="B"), tmp_path / "pretrained.pt", part="encoder", min_share=0.8)


def test_with_its_last_stage_every_parameter_of_the_encoder_is_pretrained(tmp_path):
    strides = (*((2, 2, 2),) * 4, (1, 1, 1))  # the default of STUNet
    network, image, mask = case(strides=strides)
    assert network.patch_size == PATCH
    MaskedPatchLoss(PATCH)(network(image, mask), image, mask).backward()
    assert all(p.grad.abs().max() > 0 for name, p in network.encoder.named_parameters() if not name.endswith("bias"))
    other = torch.where(mask_to_image(mask, image.shape[2:], PATCH), torch.randn_like(image), image)
    torch.testing.assert_close(network(other, mask), network(image, mask))  # hidden voxels enter nothing
    torch.save(network.state_dict(), tmp_path / "pretrained.pt")
    report = load_weights(STUNet(num_classes=3, size="S"), tmp_path / "pretrained.pt", part="encoder", min_share=1.0)
    assert not report.missing


def test_learns_to_reconstruct_what_is_hidden():
    network = MaskedSTUNet(size="S", strides=((2, 2, 2),) * 2)
    axes = torch.stack(torch.meshgrid(*(torch.linspace(0, 6, 16),) * 3, indexing="ij"))
    image = axes.sin().prod(0)[None, None]
    loss, masker = MaskedPatchLoss((4, 4, 4)), RandomMasker(64, 0.4)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(20):
        mask = masker({"image": image}, generator=generator)
        value = loss(network(image, mask), image, mask)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[0] > 0.9
    assert sum(losses[-5:]) / 5 < 0.6


def test_bfloat16_channels_last_and_metatensors_agree_with_the_plain_computation():
    network, image, mask = case()
    expected = network(image, mask)
    network.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(network(MetaTensor(image), mask), expected, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(image, mask)
    assert F.cosine_similarity(rough.float().flatten(), expected.flatten(), dim=0) > 0.99


def test_relu6_in_place_equals_torch_and_refuses_a_second_backward_pass():
    x = (5 * torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)).requires_grad_()
    grad = torch.randn_like(x)
    (expected,) = torch.autograd.grad(F.relu6(x).square(), x, grad)
    out = _ReLU6.apply(1 * x).square()
    (found,) = torch.autograd.grad(out, x, grad, retain_graph=True)
    assert torch.equal(found, expected)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out, x, grad)


def test_checkpointing_changes_nothing():
    network, image, mask = case(1)
    expected = torch.autograd.grad(network(image, mask).square().mean(), list(network.parameters()))
    other = MaskedSTUNet(size="S", checkpointing=True)
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(
        torch.autograd.grad(other(image, mask).square().mean(), list(other.parameters())), expected
    )


def test_arguments_that_do_not_fit():
    network, image, mask = case()
    with pytest.raises(ValueError, match=r"mask \(2, 11\) for an image of \(3, 2, 2\) patches"):
        network(image, mask[:, :11])
    with pytest.raises(ValueError, match="whole number of patches"):
        network(image[..., :20], mask)
    with pytest.raises(ValueError, match="'unet' is none of hierarchical, simple"):
        MaskedSTUNet(decoder="unet")


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.6, 0.7, 0.9])
def test_a_known_ratio_gives_the_number_that_the_masker_shows(ratio):
    """Rounding included: a wrong number raises."""
    network = MaskedSTUNet(size=(4, 1), mask_ratio=ratio)
    image = torch.rand(2, 1, 48, 32, 48)
    mask = AnatoMasker((16, 16, 16), ratio, r_end=0.0)({"image": image})
    known = network(image, mask)
    network.mask_ratio = None
    assert torch.equal(network(image, mask), known)

import pytest
import torch
import torch.nn.functional as F

from monai_ext.networks.blocks import MaskedInstanceNorm, masked_instance_norm


def case(dtype=torch.float64, mean=0.0, channels_last=False):
    """Two samples with different numbers of visible voxels, scattered."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=dtype) * 2 + mean
    visible = (torch.rand(2, 1, 4, 5, 6, generator=generator) < torch.tensor([0.3, 0.7]).view(2, 1, 1, 1, 1)).to(dtype)
    weight = torch.rand(3, generator=generator, dtype=dtype) + 0.5
    bias = torch.randn(3, generator=generator, dtype=dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    return x, visible, weight, bias


def brute_force(x, visible, weight, bias, pooled=False, eps=1e-5):
    """Loop over samples and channels; gather the visible values; normalize them; put them back."""
    out = torch.zeros_like(x)
    for group in [range(x.shape[0])] if pooled else [[b] for b in range(x.shape[0])]:
        for c in range(x.shape[1]):
            seen = torch.cat([x[b, c][visible[b, 0] > 0] for b in group])
            mean, std = seen.mean(), (seen.var(unbiased=False) + eps).sqrt()
            for b in group:
                where = visible[b, 0] > 0
                out[b, c][where] = (x[b, c][where] - mean) / std * weight[c] + bias[c]
    return out


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_equals_a_loop_over_samples_in_single_precision(pooled, channels_last, mean):
    x, visible, weight, bias = case(torch.float32, mean, channels_last)
    out = masked_instance_norm(x, visible, weight, bias, pooled=pooled)
    expected = brute_force(x.double(), visible, weight.double(), bias.double(), pooled).float()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last_3d) == channels_last


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_the_formula(pooled, masked):
    x, visible, weight, bias = (t.requires_grad_(i != 1) for i, t in enumerate(case()))
    # fp32 moments limit how well finite differences agree; autograd through the loop does not.
    ours = masked_instance_norm(x, visible if masked else None, weight, bias, pooled=pooled)
    theirs = brute_force(x, visible if masked else torch.ones_like(visible), weight, bias, pooled)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=ours.dtype)
    for mine, its in zip(*(torch.autograd.grad(y, [x, weight, bias], upstream) for y in (ours, theirs))):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


def test_hidden_values_neither_count_nor_come_out():
    x, visible, weight, bias = case(torch.float32)
    other = torch.where(visible > 0, x, torch.full_like(x, 1e6))
    torch.testing.assert_close(
        masked_instance_norm(x, visible, weight, bias),
        masked_instance_norm(other, visible, weight, bias),
        rtol=0,
        atol=0,
    )
    assert (masked_instance_norm(other, visible, weight, bias) * (1 - visible) == 0).all()


def test_a_sample_with_nothing_visible_gives_zeros():
    x, visible, weight, bias = case(torch.float32)
    visible[0] = 0
    out = masked_instance_norm(x, visible, weight, bias)
    assert (out[0] == 0).all()
    assert out.isfinite().all()


@pytest.mark.parametrize("channels_last", [False, True])
def test_without_a_mask_it_is_instance_norm_in_training_and_inference(channels_last):
    x, _, weight, bias = case(torch.float32, channels_last=channels_last)
    norm = MaskedInstanceNorm(3, pooled=True)
    norm.load_state_dict({"weight": weight, "bias": bias})
    expected = F.instance_norm(x, weight=weight, bias=bias)
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)


def test_bfloat16_stays_within_its_rounding():
    x, visible, weight, bias = case(torch.float32, mean=1.0)
    out = masked_instance_norm(x.bfloat16(), visible.bfloat16(), weight, bias)
    assert out.dtype == torch.bfloat16
    expected = brute_force(x.bfloat16().float(), visible, weight, bias)
    assert (out.float() - expected).abs().max() < 0.05

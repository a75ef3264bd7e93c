import pytest
import torch
import torch.nn.functional as F

from monai_ext.networks.blocks import InstanceNorm, instance_norm


def case(dtype=torch.float64, mean=0.0, channels_last=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=dtype) * 2 + mean
    weight = torch.rand(3, generator=generator, dtype=dtype) + 0.5
    bias = torch.randn(3, generator=generator, dtype=dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    return x, weight, bias


def brute_force(x, weight, bias, pooled=False, eps=1e-5):
    """Loop over samples and channels."""
    out = torch.zeros_like(x)
    for group in [[0, 1]] if pooled else [[0], [1]]:
        for c in range(x.shape[1]):
            mean, std = x[group, c].mean(), (x[group, c].var(unbiased=False) + eps).sqrt()
            for b in group:
                out[b, c] = (x[b, c] - mean) / std * weight[c] + bias[c]
    return out


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_equals_a_loop_over_samples_in_single_precision(pooled, channels_last, mean):
    x, weight, bias = case(torch.float32, mean, channels_last)
    out = instance_norm(x, weight, bias, pooled=pooled)
    expected = brute_force(x.double(), weight.double(), bias.double(), pooled).float()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last_3d) == channels_last


@pytest.mark.parametrize("pooled", [False, True])
def test_gradients_are_those_of_the_formula(pooled):
    x, weight, bias = (t.requires_grad_() for t in case())
    # fp32 moments limit how well finite differences agree; autograd through the loop does not.
    ours, theirs = instance_norm(x, weight, bias, pooled=pooled), brute_force(x, weight, bias, pooled)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=ours.dtype)
    for mine, its in zip(*(torch.autograd.grad(y, [x, weight, bias], upstream) for y in (ours, theirs))):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_module_is_instance_norm_in_training_and_inference(channels_last):
    x, weight, bias = case(torch.float32, channels_last=channels_last)
    norm = InstanceNorm(3)
    norm.load_state_dict({"weight": weight, "bias": bias})
    expected = F.instance_norm(x, weight=weight, bias=bias)
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)


def test_the_pooled_module_couples_samples_in_training_and_inference():
    x, weight, bias = case(torch.float32)
    norm = InstanceNorm(3, pooled=True)
    norm.load_state_dict({"weight": weight, "bias": bias})
    expected = F.batch_norm(x, None, None, weight, bias, training=True)
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)


def test_in_place_it_gives_the_same():
    x, weight, bias = case(torch.float32)
    expected = instance_norm(x, weight, bias)
    assert torch.equal(instance_norm(x, weight, bias, inplace=True), expected)


def test_bfloat16_stays_within_its_rounding():
    x, weight, bias = case(torch.float32, mean=1.0)
    out = instance_norm(x.bfloat16(), weight, bias)
    assert out.dtype == torch.bfloat16
    expected = brute_force(x.bfloat16().float(), weight, bias)
    assert (out.float() - expected).abs().max() < 0.05

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_ext.maskers import RandomMasker
from monai_ext.networks.blocks import SubmanifoldConv3d, VisiblePatches, instance_norm, mask_to_image

GRID = (3, 2, 4)


def case(patch, channels=3, batch=2, dtype=torch.float64):
    torch.manual_seed(0)
    size = tuple(g * p for g, p in zip(GRID, patch))
    volume = torch.randn(batch, channels, *size, dtype=dtype)
    mask = RandomMasker(24, 0.6)({"image": volume})
    return volume, mask, VisiblePatches(mask, GRID), mask_to_image(mask, size, patch)


def patches_one_by_one(volume, mask, patch):
    """Loop over samples and cells: the visible patches of each sample below each other."""
    samples = []
    for b in range(volume.shape[0]):
        seen = []
        for cell in range(24):
            if not mask[b, cell]:
                z, y, x = cell // 8, cell // 4 % 2, cell % 4
                where = [slice(i * p, (i + 1) * p) for i, p in zip((z, y, x), patch)]
                seen.append(volume[(b, slice(None), *where)])
        samples.append(torch.cat(seen, dim=1))
    return torch.stack(samples)


@pytest.mark.parametrize("patch", [(4, 4, 4), (2, 4, 1), (1, 1, 1)])
def test_stacking_equals_a_loop_over_patches_and_unstacking_undoes_it(patch):
    volume, mask, visible, hidden = case(patch)
    stacked = visible.stack(volume)
    assert torch.equal(stacked, patches_one_by_one(volume, mask, patch))
    assert visible.patch_size(stacked) == patch
    fill = torch.randn(3, dtype=torch.float64)
    expected = torch.where(hidden, fill[:, None, None, None], volume)
    assert torch.equal(visible.unstack(stacked, fill), expected)
    again = visible.join(visible.split(stacked).movedim(1, -1).reshape(-1, 3), patch)
    assert torch.equal(again, stacked)


def test_windows_hold_the_visible_neighbours_and_zero_elsewhere():
    volume, mask, visible, hidden = case((4, 4, 4))
    padded = F.pad(volume.masked_fill(hidden, 0), (1,) * 6)
    windows, number = visible.windows(visible.stack(volume)), 0
    for b in range(2):
        for cell in range(24):
            if not mask[b, cell]:
                z, y, x = 4 * (cell // 8), 4 * (cell // 4 % 2), 4 * (cell % 4)
                assert torch.equal(windows[number], padded[b, :, z : z + 6, y : y + 6, x : x + 6])
                number += 1
    assert number == len(windows)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("patch", "stride"),
    [((4, 4, 4), (1, 1, 1)), ((4, 4, 4), (2, 2, 2)), ((2, 4, 4), (1, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((1, 1, 1),) * 2],
)
def test_convolution_and_its_gradients_equal_the_dense_one_with_the_mask_around_it(patch, stride, last):
    volume, _, visible, hidden = case(patch)
    conv = SubmanifoldConv3d(3, 5, stride).double()
    if last:
        conv.to(memory_format=torch.channels_last_3d)
    parameters = [*conv.parameters()]
    volume.requires_grad_()
    dense = conv(volume.masked_fill(hidden, 0))
    ours = conv(visible.stack(volume), visible)
    torch.testing.assert_close(ours, visible.stack(dense))
    upstream = torch.randn_like(ours)
    expected = torch.autograd.grad(visible.stack(dense), [volume, *parameters], upstream)
    for mine, its in zip(torch.autograd.grad(ours, [volume, *parameters], upstream), expected):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("patch", [(4, 4, 4), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_gradients_stay_within_its_rounding(patch, stride):
    """Torch's bf16 convolutions on a CPU had wrong weight gradients for small volumes."""
    patch = tuple(p * stride for p in patch)
    volume, _, visible, _ = case(patch, channels=16, dtype=torch.float32)
    conv = SubmanifoldConv3d(16, 32, (stride,) * 3).to(memory_format=torch.channels_last_3d)
    x = visible.stack(volume).requires_grad_()
    inputs = [x, *conv.parameters()]
    exact = conv(x, visible)
    with torch.autocast("cpu", torch.bfloat16):
        rough = conv(x, visible)
    assert rough.dtype == torch.bfloat16
    upstream = torch.randn_like(exact)
    pairs = zip(torch.autograd.grad(rough, inputs, upstream.bfloat16()), torch.autograd.grad(exact, inputs, upstream))
    for mine, its in [(rough, exact), *pairs]:
        assert mine.dtype == its.dtype or mine is rough
        assert (mine.float() - its).abs().max() < 0.02 * its.abs().max()


@pytest.mark.parametrize("pooled", [False, True])
def test_a_norm_of_stacked_patches_is_one_over_visible_voxels(pooled):
    volume, _, visible, hidden = case((4, 4, 4))
    weight, bias = torch.rand(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    out = visible.unstack(instance_norm(visible.stack(volume), weight, bias, pooled=pooled), torch.zeros(3))
    for b in range(2):
        for c in range(3):
            group = slice(None) if pooled else slice(b, b + 1)
            seen = volume[group, c][~hidden[group, 0]]
            expected = (volume[b, c] - seen.mean()) / (seen.var(unbiased=False) + 1e-5).sqrt() * weight[c] + bias[c]
            torch.testing.assert_close(out[b, c], expected.masked_fill(hidden[b, 0], 0), rtol=1e-5, atol=1e-5)


def test_without_patches_it_is_the_ordinary_convolution():
    torch.manual_seed(0)
    conv = SubmanifoldConv3d(2, 3, (1, 2, 2))
    plain = nn.Conv3d(2, 3, 3, (1, 2, 2), padding=1)
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(1, 2, 4, 6, 8)
    assert torch.equal(conv(x), plain(x))


def test_masks_that_show_nothing_or_unequally_many():
    mask = torch.ones(2, 24, dtype=torch.bool)
    with pytest.raises(ValueError, match="they show 0-0"):
        VisiblePatches(mask, GRID)
    mask[0, :5] = False
    mask[1, :7] = False
    with pytest.raises(ValueError, match="they show 5-7"):
        VisiblePatches(mask, GRID)


def test_a_number_that_is_known_need_not_be_read():
    mask = RandomMasker(24, 0.6)({"image": torch.zeros(2, 1, 1)})
    read, known = VisiblePatches(mask, GRID), VisiblePatches(mask, GRID, per_sample=9)
    assert (known.per_sample, known.total) == (read.per_sample, read.total) == (9, 18)
    assert torch.equal(known.number, read.number)
    with pytest.raises(RuntimeError):
        VisiblePatches(mask, GRID, per_sample=10)

import torch
from torch import nn

from monai_ext.inferers import SliceBatchInferer


def test_volume_equals_a_loop_over_slices():
    net = nn.Conv2d(3, 2, 3, padding=1)
    volume = torch.randn(2, 3, 8, 10, 7)
    expected = torch.stack([net(volume[..., z]) for z in range(7)], dim=-1)
    assert torch.allclose(SliceBatchInferer(batch_size=4, amp=False)(volume, net), expected, atol=1e-6)
    assert torch.allclose(SliceBatchInferer(amp=False)(volume[..., 0], net), expected[..., 0], atol=1e-6)


def test_mirrored_slices_average_probabilities():
    net = nn.Conv2d(1, 2, 3, padding=1)
    x = torch.randn(2, 1, 6, 6)
    mean = torch.stack([net(x.flip(d)).flip(d).softmax(1) for d in ([], [2], [3], [2, 3])]).mean(0)
    assert torch.allclose(SliceBatchInferer(amp=False, mirror=(0, 1))(x, net).softmax(1), mean, atol=1e-6)


def test_result_is_fp32_whatever_the_precision():
    assert SliceBatchInferer()(torch.randn(1, 1, 4, 4), nn.Conv2d(1, 2, 1)).dtype == torch.float32

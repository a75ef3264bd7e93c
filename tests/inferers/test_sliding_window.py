from itertools import pairwise

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from monai_ext.inferers import SlidingWindow
from monai_ext.inferers.sliding_window import window_starts
from monai_ext.transforms import PETCTPreprocessing


class Net(nn.Module):
    """Depends on a voxel, its neighbours and, if asked to, on where in the window it is."""

    def __init__(self, classes=4, positional=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(2, classes, 3, padding=1)
        self.positional, self.windows = positional, []

    def forward(self, x):
        self.windows.append(tuple(x.shape))
        y = self.conv(x)
        return y + torch.linspace(-2, 2, x.shape[-1]) if self.positional else y


def volume(*shape, batch=1):
    return torch.randn(batch, 2, *shape, generator=torch.Generator().manual_seed(1))


def by_hand(x, net, roi, overlap, mirror=((),)):
    """Every window, one by one, with the Gaussian written out."""
    axes = [torch.arange(r) - (r - 1) / 2 for r in roi]
    bell = [torch.exp(-(a**2) / (2 * (0.125 * r) ** 2)) for a, r in zip(axes, roi)]
    weight = torch.einsum("i,j,k->ijk", *bell)
    weight = (weight / weight.max()).clamp_min(1e-3)
    sums, norm = 0, torch.zeros(x.shape[2:])
    for a in window_starts(x.shape[2], roi[0], overlap):
        for b in window_starts(x.shape[3], roi[1], overlap):
            for c in window_starts(x.shape[4], roi[2], overlap):
                box = (slice(a, a + roi[0]), slice(b, b + roi[1]), slice(c, c + roi[2]))
                p = 0
                for flips in mirror:
                    dims = [f + 2 for f in flips]
                    p = p + net(x[(slice(None), slice(None), *box)].flip(dims)).softmax(1).flip(dims) / len(mirror)
                full = torch.zeros(*p.shape[:2], *x.shape[2:])
                full[(slice(None), slice(None), *box)] = p * weight
                sums = sums + full
                norm[box] += weight
    return sums / norm


@pytest.mark.parametrize("length", range(8, 40))
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
def test_windows_cover_the_axis_evenly_with_enough_overlap(length, overlap):
    starts = window_starts(length, 8, overlap)
    assert (starts[0], starts[-1]) == (0, length - 8)
    gaps = [b - a for a, b in pairwise(starts)]
    assert all(0 < gap <= -(-8 * (1 - overlap) // 1) for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("shape", [(8, 8, 8), (13, 8, 21), (9, 17, 10), (24, 9, 9)])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
@torch.no_grad()
def test_probabilities_are_those_worked_by_hand(shape, overlap):
    net, x = Net(positional=True).eval(), volume(*shape)
    expected = by_hand(x, net, (8, 6, 4), overlap)
    for batch_size in (1, 5):
        log_p = SlidingWindow((8, 6, 4), overlap, batch_size, amp=False)(x, net)
        torch.testing.assert_close(log_p.softmax(1), expected)
        torch.testing.assert_close(log_p.exp(), expected)


@torch.no_grad()
def test_mirroring_averages_over_all_combinations():
    net, x = Net(positional=True).eval(), volume(9, 8, 10)
    expected = by_hand(x, net, (8, 8, 8), 0.5, [(), (0,), (2,), (0, 2)])
    log_p = SlidingWindow((8, 8, 8), mirror=[0, 2], amp=False)(x, net)
    torch.testing.assert_close(log_p.exp(), expected)


@torch.no_grad()
def test_one_voxel_network_gives_what_it_gives_on_the_whole():
    net = Net().eval()
    net.conv = nn.Conv3d(2, 3, 1)
    x = volume(19, 11, 14, batch=2)
    log_p = SlidingWindow((8, 8, 8), mirror=[0, 1, 2], amp=False)(x, net)
    torch.testing.assert_close(log_p, net(x).log_softmax(1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_agrees_with_monai_where_the_windows_are_the_same():
    net, x, third = Net(positional=True).eval(), volume(15, 9, 21), 0.333
    theirs = sliding_window_inference(x, (9, 9, 9), 1, lambda w: net(w).softmax(1), third, mode="gaussian")
    torch.testing.assert_close(SlidingWindow((9, 9, 9), third, amp=False)(x, net).exp(), theirs)


@pytest.mark.parametrize("shape", [(21, 9, 8), (9, 21, 13), (8, 9, 30), (5, 6, 20)])
@torch.no_grad()
def test_argmax_in_a_slab_is_the_argmax_of_the_whole(shape):
    net, x = Net(classes=5, positional=True).eval(), volume(*shape, batch=2)
    whole = SlidingWindow((8, 6, 4), amp=False)(x, net)
    labels = SlidingWindow((8, 6, 4), amp=False, argmax=True)(x, net)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, whole.argmax(1, keepdim=True).to(torch.uint8))
    half = SlidingWindow((8, 6, 4), amp=False, argmax=True, half=True)(x, net)
    assert (half == labels).float().mean() > 0.995


@torch.no_grad()
def test_slab_is_as_thick_as_a_window_whatever_the_length(monkeypatch):
    sizes = []
    monkeypatch.setattr(torch, "zeros", lambda *s, f=torch.zeros, **k: sizes.append(s) or f(*s, **k))
    SlidingWindow((8, 8, 8), amp=False, argmax=True)(volume(9, 64, 10), Net(classes=6).eval())
    assert max(torch.Size(s).numel() for s in sizes) == 6 * 8 * 9 * 10


@torch.no_grad()
def test_small_volume_is_padded_and_cut_back():
    net, x = Net().eval(), volume(5, 8, 3)
    padded = torch.full((1, 2, 8, 8, 8), 0.5)
    padded[:, :, 1:6, :, 2:5] = x
    log_p = SlidingWindow((8, 8, 8), amp=False, pad_value=0.5)(x, net)
    torch.testing.assert_close(log_p, net(padded).log_softmax(1)[:, :, 1:6, :, 2:5])


def test_in_training_the_network_sees_the_input_as_it_is():
    net = Net().train()
    x = volume(12, 10, 9)
    out = SlidingWindow((8, 8, 8), amp=False)(x, net)
    assert net.windows == [(1, 2, 12, 10, 9)]
    assert out.requires_grad
    torch.testing.assert_close(out, net(x))


def test_bad_overlap():
    with pytest.raises(ValueError, match=r"1\.0"):
        SlidingWindow((8, 8, 8), overlap=1.0)


def test_border_is_repeated_where_asked():
    net, x = Net().eval(), volume(6, 9, 5)
    found = SlidingWindow((8, 8, 8), amp=False, pad_value=None)(x, net).softmax(1)
    around = [(1, 1), (0, 0), (1, 2)]  # 8 - 6 and 8 - 5 voxels are lacking
    padded = torch.nn.functional.pad(x, [n for pair in around[::-1] for n in pair], mode="replicate")
    expected = by_hand(padded, net, (8, 8, 8), 0.5)[:, :, 1:7, :, 1:6]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("argmax", [False, True])
@torch.no_grad()
def test_windows_over_the_patient_alone(argmax):
    """Inside the box it is the result for the box; outside it is background; and far fewer windows are run."""
    x = torch.full((1, 2, 40, 36, 24), -1.0)
    x[:, :, 12:24, 16:28] = volume(12, 12, 24).abs()
    net = Net(classes=3, positional=True).eval()
    box = (slice(8, 28), slice(12, 32), slice(0, 24))
    whole = SlidingWindow((8, 8, 8), amp=False, argmax=argmax)
    part = SlidingWindow((8, 8, 8), amp=False, argmax=argmax, body=0.005)
    expected = whole(x[(slice(None), slice(None), *box)], net)
    net.windows.clear()
    found = part(x, net)
    count = len(net.windows)
    assert torch.equal(found[(slice(None), slice(None), *box)], expected)
    background = found if argmax else found.argmax(1, keepdim=True)
    background[(slice(None), slice(None), *box)] = 0
    assert not background.any()
    if not argmax:
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 40, 36, 24))
    whole(x, net)
    assert len(net.windows) - count > 2 * count


@torch.no_grad()
def test_a_whole_body_takes_fewer_windows_at_the_same_dice(real_data):
    """PET alone of a whole body, 295 x 295 x 291 voxels; a threshold of uptake in the place of a network."""
    folder = real_data("sts_petct") / "wholebody_STS_001"
    item = PETCTPreprocessing(allow_missing=["ct"])(
        {"pet": str(folder / "SUV.nii.gz"), "label": str(folder / "GTV_Mass.nii.gz")}
    )
    image, truth = item["image"].as_tensor()[None], item["label"].as_tensor()[None] > 0
    counts, found = [], []

    def network(windows):
        counts[-1] += len(windows)
        return torch.cat([torch.zeros_like(windows[:, :1]), windows[:, 1:] * 8.01 + 7.09 - 3], 1)

    for body in (None, 0.005):
        counts.append(0)
        labels = SlidingWindow((128, 192, 160), amp=False, argmax=True, pad_value=None, body=body)(image, network) > 0
        found.append(2 * (labels & truth).sum() / (labels.sum() + truth.sum()))
    assert counts[0] >= 2.5 * counts[1]
    assert found[0] > 0.1
    assert found[1] == found[0]

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Generator, nn

from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import AnatoMasker
from monai_ext.networks.blocks import patchify, unpatchify

PAPER = (112, 112, 128)
PATCH = (2, 2, 2)


class FakeTeacher(nn.Module):
    """Errs by a known amount at every patch of the normalized target, and remembers the mask it was given."""

    def __init__(self, error, normalize=True):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.error, self.loss = error, MaskedPatchLoss(PATCH, normalize)
        self.masks = []

    def forward(self, image, mask):
        self.masks.append(mask)
        return self.scale * (self.loss.target(image) + self.error.sqrt()[..., None])


def batch(size=(8, 8, 16), samples=3, seed=0):
    return {"image": torch.randn(samples, 1, *size, generator=Generator().manual_seed(seed))}


def teacher_of(data, seed=1, **kwargs):
    patches = patchify(data["image"], PATCH)
    return FakeTeacher(torch.rand(patches.shape[:2], generator=Generator().manual_seed(seed)), **kwargs)


@pytest.mark.parametrize(("epoch", "chosen"), [(0, 0), (5, 0), (250, 29), (499, 58), (500, 58), (999, 117)])
def test_counts_of_the_paper(epoch, chosen):
    assert AnatoMasker(teacher=print).counts(392, epoch / 1000) == (chosen, 235)


@pytest.mark.parametrize("ratio", [0.6, 0.8, 0.9])
def test_masks_the_same_number_in_every_sample_at_every_epoch(ratio):
    data = {"image": torch.zeros(3, 1, 14, 14, 16)}  # the grid of the paper's crop: 7x7x8
    masker = AnatoMasker(PATCH, ratio, teacher_of(data))
    expected = 392 - round(392 * (1 - ratio))
    assert ratio != 0.6 or expected == 235
    for progress in torch.linspace(0, 0.999, 40).tolist():
        assert masker(data, progress).sum(1).tolist() == [expected] * 3


@pytest.mark.parametrize("significance", ["high", "low"])
def test_the_hardest_of_the_hidden_patches_stay_hidden(significance):
    data = batch()
    teacher = teacher_of(data)
    masker = AnatoMasker(PATCH, teacher=teacher, significance=significance)
    mask = masker(data, 0.8, Generator().manual_seed(0))
    (random,) = teacher.masks
    num_chosen, num_masked = masker.counts(128, 0.8)
    assert (num_chosen, num_masked) == (30, 77)
    for initial, final, error in zip(random, mask, teacher.error):
        hidden = sorted(initial.nonzero().flatten().tolist(), key=lambda n: error[n], reverse=significance == "high")
        assert initial.sum() == final.sum() == num_masked
        assert final[hidden[:num_chosen]].all()
        assert not final[hidden[num_chosen:]].all()


def test_the_rest_is_uniform_over_all_other_patches():
    data = {"image": torch.zeros(4000, 1, 4, 4, 4)}  # 8 patches
    error = torch.arange(8.0).expand(4000, 8)
    teacher = FakeTeacher(error)
    masker = AnatoMasker(PATCH, 0.5, teacher, r_start=0.5)
    mask = masker(data, 0.0, Generator().manual_seed(0))
    chosen = error.masked_fill(~teacher.masks[0], -1).topk(2).indices
    # Each of the six others is drawn with probability 2 / 6, whatever the teacher saw.
    rank_of_others = torch.ones(4000, 8, dtype=torch.bool).scatter(1, chosen, False)
    drawn = mask[rank_of_others].view(4000, 6).sum(0)
    assert chisquare(drawn.numpy()).pvalue > 0.001
    was_hidden = (teacher.masks[0] & rank_of_others)[rank_of_others].view(4000, 6)
    again = (mask[rank_of_others].view(4000, 6) & was_hidden).sum() / was_hidden.sum()
    assert again == pytest.approx(1 / 3, abs=0.02)


def test_no_patch_to_choose_asks_no_teacher():
    data = batch()
    teacher = teacher_of(data)
    AnatoMasker(PATCH, teacher=teacher)(data, 0.0)
    AnatoMasker(PATCH, r_end=0.0)(data, 0.9)  # SparK
    assert not teacher.masks


def test_hard_to_easy_is_the_schedule_reversed():
    rising, falling = AnatoMasker(teacher=print), AnatoMasker(teacher=print, r_start=0.5, r_end=0)
    assert [falling.counts(392, t)[0] for t in (0, 0.5, 1)] == [rising.counts(392, 1 - t)[0] for t in (0, 0.5, 1)]
    assert falling.counts(392, 0.0)[0] == 117


@pytest.mark.parametrize("r", [0.0, 0.1, 0.25, 0.37, 0.5, 0.6])
@pytest.mark.parametrize("num_patches", [64, 392, 100])
def test_algorithm_1_counts_by_its_ceilings(r, num_patches):
    masker = AnatoMasker(teacher=print, r_end=r, rule="algorithm1")
    chosen, masked = masker.counts(num_patches, 1.0)
    # In hundredths, where the ceilings are exact.
    assert chosen == -(-round(r * 100) * num_patches // 100)
    assert masked - chosen == -(-round((0.6 - r) * 100) * num_patches // 100)


def test_algorithm_1_masks_one_patch_too_many():
    data = {"image": torch.zeros(2, 1, 14, 14, 16)}
    masker = AnatoMasker(PATCH, teacher=teacher_of(data), rule="algorithm1")
    assert masker.counts(392, 1.0) == (196, 236)
    assert masker(data, 1.0).sum(1).tolist() == [236, 236]


def test_raw_ranking_follows_intensity_and_normalized_ranking_does_not():
    # Patches of equal texture on a staircase of intensity; the teacher predicts the normalized texture but for a
    # known error that falls along the stairs.
    texture = torch.tensor([-1.0, 1.0] * 4).view(1, 1, 8)
    stairs = torch.arange(8.0).view(1, 8, 1) * 10
    image = unpatchify(texture + stairs, PATCH, (4, 4, 4))
    teacher = FakeTeacher(torch.arange(8.0).flip(0).view(1, 8))
    everything = torch.ones(1, 8, dtype=torch.bool)
    normalized = AnatoMasker(PATCH, teacher=teacher).rank(image, everything)
    raw = AnatoMasker(PATCH, teacher=teacher, normalize=False).rank(image, everything)
    assert normalized.argsort(descending=True).tolist() == [list(range(8))]
    assert raw.argsort(descending=True)[0, :6].tolist() == [7, 6, 5, 4, 3, 2]


def test_draws_by_the_generator_and_leaves_no_graph():
    data = batch()
    teacher = teacher_of(data)
    masker = AnatoMasker(PATCH, teacher=teacher)
    first, second, third = (masker(data, 0.9, Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert not masker.rank(data["image"], first).requires_grad


def test_never_waits_for_the_device():
    # On the meta device any read of a value raises.
    image = torch.zeros(2, 1, 8, 8, 16, device="meta")
    masker = AnatoMasker(PATCH, teacher=lambda image, mask: image * 2)
    assert masker({"image": image}, 0.9).shape == (2, 128)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"mask_ratio": 1.0},
        {"r_end": 1.5},
        {"r_end": 0.7, "rule": "algorithm1"},
        {"r_start": -0.1},
        {"significance": "medium"},
        {"rule": "paper"},
        {"teacher": None},
    ],
)
def test_arguments_out_of_range(kwargs):
    with pytest.raises(
        ValueError, match=str(next(iter(kwargs.values()))) if kwargs != {"teacher": None} else "needs a"
    ):
        AnatoMasker(**({"teacher": print} | kwargs))


def test_a_ratio_that_leaves_nothing():
    with pytest.raises(ValueError, match="masks 8 of 8 patches"):
        AnatoMasker(PATCH, 0.99, r_end=0)({"image": torch.zeros(1, 1, 4, 4, 4)})
    assert math.prod(n // 16 for n in PAPER) == 392

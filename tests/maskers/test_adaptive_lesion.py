import itertools
import math

import pytest
import torch

from monai_ext.maskers import AdaptiveLesionMasker, PatchClustering, RisingRatio
from monai_ext.metrics import lesion_recall
from monai_ext.networks.blocks import mask_to_image

PATCH = (10, 10)


def progress(epoch, max_epochs):
    """Share of the training done at the beginning of an epoch, counted from 1."""
    return (epoch - 1) / max_epochs


def images(count=4, seed=0, lesion=1.5):
    """Heads of 14x14 patches in noisy air, each with a lesion of 3x3 patches; the label is the lesion."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.05 * torch.rand(count, 1, 160, 160, generator=generator)
    image[..., 10:150, 10:150] += 1 + 0.5 * torch.rand(count, 1, 140, 140, generator=generator)
    patches = torch.zeros(count, 16, 16, dtype=torch.bool)
    for patch, (i, j) in zip(patches, torch.randint(2, 11, (count, 2), generator=generator).tolist()):
        patch[i : i + 3, j : j + 3] = True
    label = mask_to_image(patches.flatten(1), (160, 160), PATCH)
    return image + lesion * label, label


def test_ratio_follows_equation_9():
    tau, max_epochs = 10.0, 800
    ratio = RisingRatio(max_epochs, final=0.25 + math.log(max_epochs) / tau)
    assert ratio(0.0) == 0.25
    for epoch in range(1, max_epochs + 1):
        assert ratio(progress(epoch, max_epochs)) == pytest.approx(0.25 + math.log(epoch) / tau, abs=1e-12)


@pytest.mark.parametrize(("max_epochs", "final"), [(800, 0.918), (70, 0.75), (37, 1.6), (3, 0.25), (1, 0.9)])
@pytest.mark.parametrize("size", [160, 80])
def test_number_of_masked_patches_is_exact_at_every_epoch(max_epochs, final, size):
    image, _ = images(1)
    image = image[..., :size, :size]
    num_patches = (size // 10) ** 2
    masker = AdaptiveLesionMasker(PatchClustering(PATCH), RisingRatio(max_epochs, final=final), order="random")
    for epoch in range(1, max_epochs + 1):
        sigma = 0.25 + (final - 0.25) * math.log(epoch) / math.log(max(max_epochs, 2))
        expected = math.floor(round(num_patches * min(sigma, 0.95), 6))
        assert masker.num_masked(num_patches, progress(epoch, max_epochs)) == expected
        if epoch % 40 == 1:
            assert masker({"image": image}, progress(epoch, max_epochs)).sum() == expected


def test_published_numbers():
    masker = AdaptiveLesionMasker(PatchClustering(PATCH), RisingRatio())
    counts = [masker.num_masked(256, progress(epoch, 800)) for epoch in (1, 148, 149, 800)]
    assert counts[0] == 64
    assert counts[1] < 192 <= counts[2]  # 75 % is passed here
    assert counts[3] == 235


def test_ratio_is_clamped_and_never_falls():
    ratio = RisingRatio(100, final=1.5)
    values = [ratio(p / 1000) for p in range(1001)]
    assert max(values) == 0.95
    assert values == sorted(values)


@pytest.mark.parametrize("ignore_background", [True, False])
@pytest.mark.parametrize("order", ["foreground_first", "background_first", "random"])
def test_every_sample_has_the_same_number_masked(order, ignore_background):
    image, _ = images()
    image[0] = 0.3  # a constant slice
    image[1, :, :50] = float("nan")
    masker = AdaptiveLesionMasker(PatchClustering(PATCH, ignore_background=ignore_background), 0.6, order)
    mask = masker({"image": image}, 0.5)
    assert mask.dtype == torch.bool
    assert mask.shape == (4, 256)
    assert mask.sum(1).tolist() == [153] * 4


def test_orders():
    image, label = images(8)
    batch = {"image": image}
    recall = {}
    for order in ("foreground_first", "background_first", "random"):
        mask = AdaptiveLesionMasker(PatchClustering(PATCH), 0.25, order)(batch, 0.0, torch.Generator().manual_seed(0))
        found, chance = lesion_recall(mask, label, PATCH)
        recall[order] = found.mean()
        assert torch.equal(chance, torch.full((8,), 0.25))
    assert recall["foreground_first"] == 1
    assert recall["background_first"] == 0
    assert 0.05 < recall["random"] < 0.5


def test_masks_grow_and_keep_what_they_hid():
    image, _ = images(2)
    masker = AdaptiveLesionMasker(PatchClustering(PATCH), RisingRatio(10))
    masks = [masker({"image": image}, progress(e, 10), torch.Generator().manual_seed(1)) for e in range(1, 11)]
    for earlier, later in itertools.pairwise(masks):
        assert (later | ~earlier).all()
        assert later.sum() > earlier.sum()


@pytest.mark.parametrize("order", ["foreground_first", "background_first", "random"])
def test_air_is_masked_in_proportion_and_at_random(order):
    image, _ = images(6)
    clustering = PatchClustering(PATCH)
    air = ~clustering.patches(image)[1]
    masker = AdaptiveLesionMasker(clustering, 0.5, order)
    masks = torch.stack([masker({"image": image}, 0.0, torch.Generator().manual_seed(i)) for i in range(200)])
    assert air.sum(1).tolist() == [60] * 6
    assert ((masks & air).sum(-1) == 30).all()
    shares = masks[:, :, air[0]].float().mean((0, 1))
    assert (shares - 0.5).abs().max() < 5 * (0.25 / 1200) ** 0.5


def test_members_of_the_foreground_precede_patches_that_are_nearer_to_its_centroid():
    image, _ = images(2, lesion=0.6)
    clustering = PatchClustering(PATCH, method="hierarchical")
    foreground = clustering(image).foreground
    mask = AdaptiveLesionMasker(clustering, 0.3)({"image": image})
    few = foreground.sum(1) <= (mask & clustering.patches(image)[1]).sum(1)
    assert few.any()
    assert mask[foreground & few[:, None]].all()


def test_masks_are_reproducible():
    batch = {"image": images()[0]}
    masker = AdaptiveLesionMasker(PatchClustering(PATCH), 0.5, "random")
    first, second, other = (masker(batch, 0.0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "arguments", [{"max_epochs": 0}, {"initial": 0.0}, {"initial": 0.5, "final": 0.4}, {"limit": 1.0}, {"limit": 0.1}]
)
def test_impossible_schedules(arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        RisingRatio(**arguments)


def test_impossible_arguments():
    with pytest.raises(ValueError, match="hard_first"):
        AdaptiveLesionMasker(PatchClustering(PATCH), order="hard_first")
    with pytest.raises(ValueError, match=r"1\.5"):
        AdaptiveLesionMasker(PatchClustering(PATCH), ratio=1.5)

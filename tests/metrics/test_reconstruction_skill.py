import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from monai_ext.losses import MaskedPatchLoss
from monai_ext.metrics import ReconstructionSkill, reconstruction_skill, tissue_patches
from monai_ext.networks.blocks import mask_to_image, patch_targets, patchify, unpatchify

PATCH = (4, 4)


@pytest.fixture
def scans():
    """Smooth images that resemble each other, of two channels far apart, all of it tissue, and masks of half."""
    rng = torch.Generator().manual_seed(3)
    common = torch.nn.functional.interpolate(torch.randn(1, 2, 5, 5, generator=rng), size=(24, 24), mode="bicubic")
    own = torch.nn.functional.interpolate(torch.randn(6, 2, 9, 9, generator=rng), size=(24, 24), mode="bicubic")
    image = 20 + common + 0.5 * own + 0.1 * torch.randn(6, 2, 24, 24, generator=rng)
    image[:, 1] += 30
    image[:, :, 0, 0] = 0  # the darkest voxel, which makes all others tissue
    mask = torch.rand(6, 36, generator=rng).argsort(1) < 18
    mask[:, 0] = False
    return image, mask


def brute_force(image, mask, fill, normalize=False, per_channel=False):
    """Sum of squared errors of a fill by channel, voxel by voxel."""
    hidden = mask_to_image(mask, image.shape[2:], PATCH)[:, 0].numpy()
    weight = np.ones(image.shape)
    if normalize:
        patches = patchify(image, PATCH).unflatten(-1, (-1, 2))
        var = patches.var(2 if per_channel else (2, 3), keepdim=True) + 1e-6
        var = var.expand(-1, -1, 16, 2).flatten(2)
        weight = 1 / unpatchify(var, PATCH, (24, 24)).numpy()
    found = np.zeros(2)
    for b in range(len(image)):
        seen = np.argwhere(~hidden[b])
        tree = cKDTree(seen)
        for y, x in np.argwhere(hidden[b]):
            for c in range(2):
                truth = image[b, c, y, x].item()
                if fill == "visible_mean":
                    value = image[b, c].numpy()[~hidden[b]].mean()
                elif fill == "position":
                    value = np.mean([image[k, c, y, x].item() for k in range(len(image)) if k != b])
                else:
                    distance = tree.query((y, x))[0]
                    near = tree.query_ball_point((y, x), distance + 1e-6)
                    value = [image[b, c, seen[i][0], seen[i][1]].item() for i in near]
                found[c] += weight[b, c, y, x] * min((np.atleast_1d(value) - truth) ** 2)
    return found


@pytest.mark.parametrize(("normalize", "per_channel"), [(False, False), (True, False), (True, True)])
def test_fills_equal_brute_force(scans, normalize, per_channel):
    image, mask = scans
    skill = ReconstructionSkill(PATCH, normalize, per_channel)
    for part in (slice(0, 4), slice(4, 6)):  # batches do not matter
        skill.update(image[part], mask[part], patch_targets(image[part], PATCH, normalize, per_channel))
    assert skill.compute()["r2"] == pytest.approx(1, abs=1e-6)
    expected = brute_force(image, mask, "position", normalize, per_channel)
    np.testing.assert_allclose(skill._at_positions().numpy(), expected, rtol=1e-4)
    visible = brute_force(image, mask, "visible_mean", normalize, per_channel)
    np.testing.assert_allclose(skill.fills["visible_mean"].numpy(), visible, rtol=1e-4)
    nearest = brute_force(image, mask, "nearest", normalize, per_channel)
    assert (skill.fills["nearest"].numpy() >= nearest * (1 - 1e-4)).all()  # of several as near, one is taken
    assert (skill.fills["nearest"].numpy() < 1.5 * nearest).all()


def test_a_fill_as_a_reconstruction_explains_nothing_beyond_itself(scans):
    image, mask = scans
    skill = ReconstructionSkill(PATCH, channels=["a", "b"])
    skill.update(image, mask, skill._nearest(image, mask))
    found = skill.compute()
    assert found["r2_over_nearest"] == pytest.approx(0, abs=1e-9)
    assert found["r2"] <= 1e-9
    assert found["r2_a"] <= 1e-9
    assert found["r2"] == min(value for name, value in found.items() if name.startswith("r2_over"))


@pytest.mark.parametrize("per_channel", [False, True])
def test_zero_is_the_patches_own_mean_and_its_error_is_the_loss_of_one(scans, per_channel):
    image, mask = scans
    skill = ReconstructionSkill(PATCH, True, per_channel)
    skill.update(image, mask, torch.zeros(6, 36, 32))
    assert skill.compute()["r2_over_patch_mean"] == pytest.approx(0, abs=1e-9)
    loss = MaskedPatchLoss(PATCH, True, per_channel)(torch.zeros(6, 36, 32), image, mask)
    assert skill.model.sum().item() / (mask.sum().item() * 32) == pytest.approx(loss.item(), rel=1e-5)


def test_only_hidden_tissue_of_scanned_channels_counts(scans):
    image, mask = scans
    image[:, :, :, 12:] = 0  # padding
    image[0, 1] = 0  # a modality that was not scanned
    pred = image.clone()
    pred[:, :, :, 12:] = 99
    pred[0, 1] = 99
    visible = ~mask_to_image(mask, (24, 24), PATCH).expand_as(pred)
    pred[visible] = 99
    skill = ReconstructionSkill(PATCH)
    skill.update(image, mask, pred)
    assert skill.model.tolist() == [0, 0]
    assert not tissue_patches(image, PATCH).view(6, 6, 6)[:, :, 3:].any()
    assert tissue_patches(image, PATCH).view(6, 6, 6)[:, 1:, :3].all()


def test_processes_together_know_what_one_would(scans, monkeypatch):
    image, mask = scans
    alone, first, second, idle = (ReconstructionSkill(PATCH) for _ in range(4))
    pred = image + 1
    alone.update(image, mask, pred)
    first.update(image[:4], mask[:4], pred[:4])
    second.update(image[4:], mask[4:], pred[4:])
    parts = [[each.samples, each.model, each.fills, each._place] for each in (first, second, idle)]
    monkeypatch.setattr(reconstruction_skill, "from_all", lambda own: parts)
    idle.gather()
    assert idle.compute() == pytest.approx(alone.compute())


def test_samples_of_several_sizes_and_nothing_at_all(scans):
    image, mask = scans
    skill = ReconstructionSkill(PATCH)
    assert math.isnan(skill.compute()["r2"])
    skill.update(image, mask, image)
    skill.update(image[:, :, :12], mask[:, :18], image[:, :, :12])
    assert "r2_over_position" not in skill.compute()
    skill.update(image, mask, image)
    assert "r2_over_position" not in skill.compute()
    skill.gather()  # of one process
    assert skill.summary()["r2"]["n"] == 18
    skill.reset()
    skill.update(image, torch.ones_like(mask), torch.zeros_like(image))  # all is hidden
    assert skill.compute()["r2"] < 1
    assert skill.summary()["r2"]["n"] == 6

"""The loss over sure voxels, against its equation in NumPy."""

import numpy as np
import pytest
import torch

from monai_ext.losses import DeepSupervisionLoss, SureVoxelLoss, sure_labels
from monai_ext.losses.sure_voxels import UNSURE


def by_numpy(logits, label, weight, smooth=1e-5):
    """Voxel by voxel, as the docstring states it."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    flat, target = np.moveaxis(p, 1, -1).reshape(-1, p.shape[1]), label.reshape(-1)
    sure = target != UNSURE
    ce = sum(-np.log(q[t]) for q, t in zip(flat[sure], target[sure])) / len(target)
    dice = []
    for c in range(1, p.shape[1]):
        truth = target[sure] == c
        if truth.any():
            q = flat[sure][:, c]
            dice.append(1 - (2 * q[truth].sum() + smooth) / (q.sum() + truth.sum() + smooth))
    return ce + weight * (np.mean(dice) if dice else 0)


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("classes", [2, 4])
def test_is_the_equation(classes, weight):
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(3, classes, 5, 6))
    label = rng.choice([*range(max(2, classes - 1)), UNSURE], size=(3, 1, 5, 6))  # of four classes one never occurs
    found = SureVoxelLoss(weight)(torch.tensor(logits), torch.tensor(label))
    assert float(found) == pytest.approx(by_numpy(logits, label, weight), abs=1e-6)


@pytest.mark.parametrize("label", [UNSURE, 0])
def test_nothing_sure_teaches_nothing_and_background_alone_has_no_dice(label):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    found = SureVoxelLoss()(logits, torch.full((2, 1, 4, 4), label))
    found.backward()
    expected = 0.0 if label == UNSURE else float(-logits.detach().log_softmax(1)[:, 0].mean())
    assert float(found) == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(logits.grad).all()
    assert bool((logits.grad != 0).any()) == (label == 0)


def test_an_unsure_voxel_has_no_gradient():
    logits = torch.randn(1, 2, 6, requires_grad=True)
    SureVoxelLoss()(logits, torch.tensor([[[0, 1, UNSURE, 1, UNSURE, 0]]])).backward()
    assert (logits.grad[0].abs().sum(0) > 0).tolist() == [True, True, False, True, False, True]


def test_a_sure_right_answer_is_the_minimum():
    label = torch.tensor([[[0, 1, 1, UNSURE]]])
    right = 40 * torch.tensor([[[1.0, 0, 0, 0], [0, 1, 1, 1]]])
    assert float(SureVoxelLoss()(right, label)) == pytest.approx(0, abs=1e-5)
    assert float(SureVoxelLoss()(-right, label)) > 1


def test_scales_keep_what_is_unsure():
    label = torch.full((1, 1, 8, 8), UNSURE, dtype=torch.uint8)
    assert float(DeepSupervisionLoss(SureVoxelLoss())([torch.randn(1, 2, 8, 8), torch.randn(1, 2, 4, 4)], label)) == 0


def test_labels_are_the_likeliest_classes_that_reach_the_confidence():
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 50)).transpose(0, 2, 1)
    found = sure_labels(torch.tensor(np.log(p)), 0.6)
    assert found.dtype == torch.uint8
    expected = np.where(p.max(1) >= 0.6, p.argmax(1), UNSURE)
    assert found[:, 0].tolist() == expected.tolist()
    assert 0 < (expected == UNSURE).mean() < 1

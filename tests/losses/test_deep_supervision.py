import monai.losses
import pytest
import torch
import torch.nn.functional as F

from monai_ext.losses import DeepSupervisionLoss, MemoryEfficientDiceCELoss


def case(classes, seed=0, spatial=(6, 5, 4), batch=2):
    generator = torch.Generator().manual_seed(seed)
    pred = torch.randn(batch, classes, *spatial, generator=generator) * 3
    return pred, torch.randint(classes, (batch, 1, *spatial), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("classes", [2, 5, 105])
@pytest.mark.parametrize("batch", [False, True])
def test_value_and_gradient_are_those_of_monai(classes, batch):
    pred, label = case(classes)
    label[label == classes - 1] = 0  # a class that is absent
    dice = monai.losses.DiceLoss(
        softmax=True, to_onehot_y=True, include_background=False, batch=batch, smooth_nr=1e-5, smooth_dr=1e-5
    )
    ours, theirs = pred.clone().requires_grad_(), pred.clone().requires_grad_()
    loss = MemoryEfficientDiceCELoss(dice_weight=0.7, ce_weight=1.3, batch=batch)(ours, label)
    expected = 0.7 * dice(theirs, label) + 1.3 * F.cross_entropy(theirs, label[:, 0].long())
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_ends_of_the_scale():
    label = case(3)[1]
    right = 60 * F.one_hot(label[:, 0].long(), 3).movedim(-1, 1).float()
    assert MemoryEfficientDiceCELoss()(right, label).item() == pytest.approx(0, abs=1e-4)
    assert MemoryEfficientDiceCELoss(ce_weight=0)(right.roll(1, 1), label).item() == pytest.approx(1, abs=1e-3)


def test_bf16_logits_are_computed_in_fp32():
    pred, label = case(4)
    loss = MemoryEfficientDiceCELoss()(pred.bfloat16(), label)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, MemoryEfficientDiceCELoss()(pred.bfloat16().float(), label))


def test_deep_supervision_is_the_weighted_mean_over_scales():
    label = case(3, spatial=(8, 8, 4))[1].long()
    preds = [case(3, seed, spatial)[0] for seed, spatial in enumerate([(8, 8, 4), (4, 4, 2), (2, 2, 1)])]
    loss = MemoryEfficientDiceCELoss()
    by_hand = [  # the voxel at the centre of each cell, the upper of the two
        loss(preds[0], label),
        loss(preds[1], label[:, :, 1::2, 1::2, 1::2]),
        loss(preds[2], label[:, :, 2::4, 2::4, 2::4]),
    ]
    expected = (4 * by_hand[0] + 2 * by_hand[1] + by_hand[2]) / 7
    torch.testing.assert_close(DeepSupervisionLoss(loss)(preds, label), expected)
    torch.testing.assert_close(DeepSupervisionLoss(loss)(preds[0], label), by_hand[0])


def test_every_scale_learns():
    label = case(3, spatial=(8, 8, 4))[1].long()
    preds = [case(3, s, (8 >> s, 8 >> s, 4 >> s))[0].requires_grad_() for s in range(3)]
    DeepSupervisionLoss(MemoryEfficientDiceCELoss())(preds, label).backward()
    assert all(pred.grad.abs().sum() > 0 for pred in preds)

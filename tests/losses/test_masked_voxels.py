import numpy as np
import pytest
import torch

from monai_ext.losses import MaskedVoxelLoss
from monai_ext.networks.blocks import mask_to_image


@pytest.fixture
def batch():
    """A PET/CT crop and a CT crop, whose PET channel is 0."""
    torch.manual_seed(0)
    image, pred = torch.randn(2, 2, 8, 8, 4), torch.randn(2, 2, 8, 8, 4)
    image[1, 1] = 0
    return pred, image, torch.rand(2, 8) < 0.6


def by_loop(pred, image, mask, masked_only):
    total, number = 0.0, 0
    for sample, channel, x, y, z in np.ndindex(2, 2, 8, 8, 4):
        block = (x // 4) * 4 + (y // 4) * 2 + z // 2  # row-major over 2x2x2 blocks of 4x4x2
        if (sample, channel) == (1, 1) or (masked_only and not mask[sample, block]):
            continue
        total += float(pred[sample, channel, x, y, z] - image[sample, channel, x, y, z]) ** 2
        number += 1
    return total / number


@pytest.mark.parametrize("masked_only", [True, False])
def test_equals_a_loop(batch, masked_only):
    loss = MaskedVoxelLoss((4, 4, 2), masked_only, equal_channels=False)(*batch)
    assert float(loss) == pytest.approx(by_loop(*batch, masked_only), rel=1e-5)


@pytest.mark.parametrize("masked_only", [True, False])
def test_channels_of_any_unit_have_equal_weight(batch, masked_only):
    pred, image, mask = batch
    image[:, 0] += 3  # a mean is no variance
    loss = MaskedVoxelLoss((4, 4, 2), masked_only)
    hidden = (
        mask_to_image(mask, (8, 8, 4), (4, 4, 2))[:, 0] if masked_only else torch.ones(2, 8, 8, 4, dtype=torch.bool)
    )
    terms = []
    for channel, samples in enumerate([[0, 1], [0]]):  # the second sample has no PET
        truth, found = image[samples, channel].double().numpy(), pred[samples, channel].double().numpy()
        terms.append(((found - truth) ** 2)[hidden[samples].numpy()].mean() / truth.var())
    value = float(loss(pred, image, mask))
    assert value == pytest.approx(np.mean(terms), rel=1e-5)
    pred[:, 1], image[:, 1] = 0.1 * pred[:, 1], 0.1 * image[:, 1]
    assert float(loss(pred, image, mask)) == pytest.approx(value, rel=1e-5)
    image[0, 1] = 0  # no PET at all: CT alone counts
    assert float(loss(pred, image, mask)) == pytest.approx(terms[0], rel=1e-5)


def test_absent_channel_gets_no_gradient(batch):
    pred, image, mask = batch
    pred.requires_grad_()
    MaskedVoxelLoss((4, 4, 2))(pred, image, mask).backward()
    assert not pred.grad[1, 1].any()
    assert pred.grad[1, 0].any()
    assert pred.grad[0, 1].any()


def test_nothing_to_learn_from_is_zero(batch):
    pred, _, mask = batch
    assert MaskedVoxelLoss((4, 4, 2))(pred, torch.zeros_like(pred), mask) == 0


def test_half_precision_prediction(batch):
    pred, image, mask = batch
    loss = MaskedVoxelLoss((4, 4, 2), equal_channels=False)(pred.bfloat16(), image, mask)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(by_loop(*batch, True), rel=0.01)

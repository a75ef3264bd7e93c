import numpy as np
import pytest
import torch

from monai_ext.losses import MaskedPatchLoss
from monai_ext.networks.blocks import unpatchify


def eq2_numpy(pred, image, mask, patch, normalize, per_channel):
    """Eq. 2 of the paper with a loop over patches; mean and not sum over the values of a patch."""
    total, count = 0.0, 0
    columns = image.shape[3] // patch
    for b, n in zip(*np.nonzero(mask)):
        row, column = divmod(int(n), columns)
        x = image[b, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch].astype(np.float64)
        if normalize:
            axes = (1, 2) if per_channel else None
            size = patch * patch if per_channel else x.size
            mean = x.mean(axes, keepdims=True)
            variance = ((x - mean) ** 2).sum(axes, keepdims=True) / (size - 1)
            x = (x - mean) / np.sqrt(variance + 1e-6)
        total += ((pred[b, n] - x.transpose(1, 2, 0).ravel()) ** 2).mean()
        count += 1
    return total / count


@pytest.mark.parametrize(("normalize", "per_channel"), [(False, False), (True, False), (True, True)])
def test_equals_eq2(normalize, per_channel):
    torch.manual_seed(0)
    image, pred, mask = torch.randn(3, 3, 16, 24) * 50 + 7, torch.randn(3, 6, 192), torch.rand(3, 6) < 0.6
    loss = MaskedPatchLoss((8, 8), normalize, per_channel)
    expected = eq2_numpy(pred.numpy(), image.numpy(), mask.numpy(), 8, normalize, per_channel)
    assert loss(pred, image, mask).item() == pytest.approx(expected, rel=1e-6)
    assert loss(unpatchify(pred, (8, 8), (16, 24)), image, mask).item() == pytest.approx(expected, rel=1e-6)


def test_visible_patches_do_not_count():
    image, pred, mask = torch.randn(2, 1, 16, 16), torch.randn(2, 4, 64, requires_grad=True), torch.rand(2, 4) < 0.5
    MaskedPatchLoss((8, 8))(pred, image, mask).backward()
    assert torch.equal(pred.grad.abs().sum(-1) > 0, mask)


def test_constant_patch_is_finite():
    loss = MaskedPatchLoss((8, 8))(torch.zeros(1, 1, 64), torch.full((1, 1, 8, 8), 3.0), torch.ones(1, 1).bool())
    assert loss == 0


def test_absolute_error_is_that_of_masked_pixels():
    """SimMIM: the mean over masked pixels of |prediction - image|, worked on the image and not on patches."""
    torch.manual_seed(0)
    image, pred, mask = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16), torch.rand(2, 4) < 0.6
    hidden = mask.view(2, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3).expand_as(image)
    loss = MaskedPatchLoss((8, 8), normalize=False, absolute=True)
    torch.testing.assert_close(loss(pred, image, mask), (pred - image).abs()[hidden].mean())

"""Masked pretraining of the residual encoder."""

import pytest
import torch
from published_networks import shuffle

from monai_ext.losses import MaskedPatchLoss, MaskedVoxelLoss
from monai_ext.maskers import RandomMasker
from monai_ext.networks import load_weights, save_atomically
from monai_ext.networks.nets import MaskedResidualEncoder, ResidualEncoderUNet

SMALL = {"channels": (4, 8, 12), "strides": (1, 2, (1, 2, 2)), "blocks": (1, 2, 2)}


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("loss", [MaskedPatchLoss((2, 4, 4)), MaskedVoxelLoss((2, 4, 4))])
def test_masked_pretraining_hides_learns_and_hands_its_encoder_on(tmp_path, skips, loss):
    net = shuffle(MaskedResidualEncoder(1, (2, 4, 4), skips, **SMALL))
    image, masker = torch.randn(2, 1, 4, 8, 8), RandomMasker(8, 0.5)
    mask = masker({"image": image})
    hidden = mask.reshape(2, 1, 2, 2, 2).repeat_interleave(2, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    prediction = net(image, mask)
    assert prediction.shape == image.shape
    assert torch.equal(net(image.masked_fill(hidden, 7.0), mask), prediction)
    loss(prediction, image, mask).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]
    save_atomically(net.state_dict(), tmp_path / "pretrained.pt")
    target = ResidualEncoderUNet(1, 2, **SMALL)
    report = load_weights(target, tmp_path / "pretrained.pt", part="encoder")
    assert not report.missing
    assert all(name.startswith("reconstruction.") for name in report.unexpected)

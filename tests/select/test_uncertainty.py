"""How unsure a segmenter is."""

import math

import numpy as np
import pytest
import torch

from monai_ext.errors import CheckpointError
from monai_ext.select.uncertainty import Uncertainty
from monai_ext.transforms.tissue import tissue_mask


def changed(path, change):
    state = torch.load(path, weights_only=True)
    for name in state:
        if name.startswith("head"):
            state[name] = change(name, state[name])
    torch.save(state, path)
    return path


@pytest.mark.parametrize("bundle", ["amlp", "anatomask"])
def test_none_and_all_of_it(parser, weights, scans, bundle):
    """Scores that are equal leave all open, one that is far higher nothing."""
    item = {"id": "p00", "image": str(scans / "p00.nii.gz")}
    path = changed(weights(bundle), lambda name, values: torch.zeros_like(values))
    assert Uncertainty(parser(bundle), path)(item)["uncertainty"][0] == pytest.approx(math.log(2), rel=1e-3)

    def sure(name, values):
        return torch.tensor([90.0, 0.0]) if name.endswith("bias") else torch.zeros_like(values)

    assert Uncertainty(parser(bundle), changed(path, sure))(item)["uncertainty"][0] == pytest.approx(0, abs=1e-6)


def test_mirror_images_that_disagree_count(parser, weights, scans):
    """The mean of an image and its mirror image is less sure than either, here on the raw scores."""
    item = {"id": "p00", "image": str(scans / "p00.nii.gz")}
    look = Uncertainty(parser("amlp"), weights("amlp"))
    assert [tuple(axes) for axes in look.inferer.mirror] == [(), (0,)]
    both = look(item)["uncertainty"][0]
    image = look.preprocessing(item)["image"].as_tensor()[None]
    with torch.no_grad():
        p = [look.network(x.movedim(-1, 1)[0]).softmax(1) for x in (image, image.flip(2))]
    p[1] = p[1].flip(2)
    mean = (p[0] + p[1]) / 2
    entropy = -(mean * mean.log()).sum(1).movedim(0, -1)
    assert both == pytest.approx(float(entropy[tissue_mask(image[0, 0])].mean()), rel=1e-4)


def test_weights_that_do_not_fit_or_give_no_number(parser, weights, scans):
    with pytest.raises(CheckpointError, match="match"):
        Uncertainty(parser("anatomask"), weights("amlp"))
    broken = changed(weights("amlp"), lambda name, values: values * np.nan)
    with pytest.raises(CheckpointError, match="no numbers"):
        Uncertainty(parser("amlp"), broken)({"id": "p00", "image": str(scans / "p00.nii.gz")})
    one, two = weights("amlp", 0), weights("amlp", 1)
    assert Uncertainty(parser("amlp"), one).identity != Uncertainty(parser("amlp"), two).identity

import pytest
import torch
from monai.metrics import DiceMetric

from monai_ext.metrics import PerCase, dice, hausdorff95


def test_spacing_and_options_reach_the_function():
    generator = torch.Generator().manual_seed(0)
    pred, truth = (torch.randint(2, (1, 6, 6, 6), generator=generator) for _ in range(2))
    spacing = [3.0, 2.0, 0.5]
    assert torch.equal(PerCase(hausdorff95)(pred, truth, spacing), hausdorff95(pred, truth, spacing))
    missed = PerCase(hausdorff95, penalize_missing=True)(pred * 0, truth, spacing)
    assert torch.equal(missed, hausdorff95(pred * 0, truth, spacing, penalize_missing=True))


@pytest.mark.parametrize("one_hot", [False, True])
def test_each_class_equals_monai(one_hot):
    generator = torch.Generator().manual_seed(0)
    pred, truth = (torch.randint(4, (1, 6, 6, 6), generator=generator) for _ in range(2))
    monai = DiceMetric(include_background=False, num_classes=4)
    monai(pred[None], truth[None])
    if one_hot:
        pred = torch.nn.functional.one_hot(pred[0], 4).movedim(-1, 0)
    found = PerCase(dice, num_classes=4, only_lesions=True)(pred, truth)
    torch.testing.assert_close(found, monai.get_buffer()[0])


def test_undefined_is_nan():
    metric = PerCase(dice, only_lesions=True)
    assert metric(torch.ones(1, 4, 4), torch.zeros(1, 4, 4)).isnan()
    assert metric(torch.ones(1, 4, 4), torch.ones(1, 4, 4)) == 1


def test_spacing_must_be_known():
    with pytest.raises(ValueError, match="MetaTensor"):
        PerCase(hausdorff95)(torch.ones(1, 4, 4, 4), torch.ones(1, 4, 4, 4))

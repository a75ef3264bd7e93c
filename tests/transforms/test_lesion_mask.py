import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.transforms import LesionMaskd, RestoreToReferenced

AFFINE = np.array([[-4.0, 0, 0, 60.0], [0, -4.0, 0, 50.0], [0, 0, 3.0, -20.0], [0, 0, 0, 1]])
STRAIGHT = np.array([[-2.0, 0, 0, 57.0], [0, 2.0, 0, -11.0], [0, 0, 2.5, -18.0], [0, 0, 0, 1]])


@pytest.fixture
def item():
    scores = torch.randn(2, 12, 10, 8, generator=torch.Generator().manual_seed(0))
    return {
        "id": "a",
        "image": MetaTensor(torch.zeros(2, 12, 10, 8), affine=torch.from_numpy(AFFINE)),
        "pred": MetaTensor(scores, affine=torch.from_numpy(AFFINE)),
        "original_affine": torch.from_numpy(STRAIGHT),
        "original_shape": torch.tensor([20, 24, 9]),
    }


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_is_softmax_restored_and_compared(item, threshold):
    found = LesionMaskd(threshold=threshold)(item)
    due = RestoreToReferenced("pred")({**item, "pred": item["pred"].softmax(0)})["pred"][1:]
    np.testing.assert_allclose(found["lesion_probability"].numpy(), due.numpy(), atol=1e-5)
    clear = (due - threshold).abs() > 1e-4
    assert torch.equal((found["pred"] > 0)[clear].as_subclass(torch.Tensor), (due > threshold)[clear].as_tensor())
    assert found["pred"].dtype == torch.uint8
    assert found["pred"].any()
    for key in ("pred", "lesion_probability"):
        assert found[key].shape == (1, 20, 24, 9)
        np.testing.assert_allclose(found[key].affine.numpy(), STRAIGHT)
        assert found[key].meta["filename_or_obj"] == "a.nii.gz"


def test_other_shapes_and_items_are_refused(item):
    with pytest.raises(ValueError, match="RememberGridd"):
        LesionMaskd()({key: item[key] for key in ("pred", "image")})
    with pytest.raises(ValueError, match=r"pred has shape \(3, 12, 10, 8\)"):
        LesionMaskd()({**item, "pred": torch.zeros(3, 12, 10, 8)})

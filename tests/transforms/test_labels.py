import pytest
import torch
from monai.data import MetaTensor

from monai_ext.errors import DataError
from monai_ext.transforms.labels import CheckLabeld


def item(values, affine=None, shape=(1, 4, 5, 6)):
    label = torch.zeros(1, 4, 5, 6)
    label.view(-1)[: len(values)] = torch.tensor(values)
    affine = torch.eye(4) if affine is None else affine
    return {"id": "c", "t2w": MetaTensor(torch.rand(shape)), "label": MetaTensor(label, affine=affine)}


def test_a_good_label_is_cast_and_untouched():
    data = item([1.0, 1.0, 3.0])
    label = CheckLabeld("label", "t2w", allowed=(0, 1, 3))(data)["label"]
    assert label.dtype == torch.uint8
    assert torch.equal(label.float().as_tensor(), data["label"].as_tensor())


@pytest.mark.parametrize("value", [2.0, 0.5, -1.0])
def test_values(value):
    with pytest.raises(DataError, match=rf"case c.*{value}.*allowed are \[0, 1\]"):
        CheckLabeld("label", "t2w")(item([1.0, value]))


def test_grid():
    CheckLabeld("label", "t2w")(item([1.0], torch.eye(4) + 5e-4))
    with pytest.raises(DataError, match="affines"):
        CheckLabeld("label", "t2w")(item([1.0], torch.diag(torch.tensor([1.0, 1, 1.01, 1]))))
    with pytest.raises(DataError, match="voxels"):
        CheckLabeld("label", "t2w")(item([1.0], shape=(1, 4, 5, 7)))


def test_missing_label():
    data = {"t2w": MetaTensor(torch.rand(1, 2, 2, 2))}
    assert CheckLabeld("label", "t2w", allow_missing_keys=True)(data).keys() == data.keys()

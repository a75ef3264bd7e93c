import pytest
import torch

from monai_ext import transforms
from monai_ext.errors import DataError
from monai_ext.transforms.grid import GRID_AFFINE, GRID_SHAPE
from monai_ext.transforms.preprocessing import Preprocessing
from monai_ext.transforms.siblings import SiblingModalitiesd, StackedModalitiesd

NAMES = [name for name in transforms.__all__ if name.endswith("Preprocessing")]


class Weights:
    fingerprint = "0123"


class Shift(Preprocessing):
    def __init__(self, by=1, network=None):
        super().__init__(SiblingModalitiesd("t2w", {"adc": "_adc"}), StackedModalitiesd("image", ("t2w", "adc")))
        self.by, self.network = by, network

    def __call__(self, data):
        return data + self.by


def test_it_is_a_list_of_itself():
    shift = Shift()
    assert list(shift) == [shift]
    value = 0
    for step in shift:  # as MONAI Label goes through a bundle's preprocessing
        value = step(value)
    assert value == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_prints_all_its_arguments(name):
    one = getattr(transforms, name)
    assert issubclass(one, Preprocessing)
    assert repr(one()) == repr(one())
    assert one().fingerprint == one().fingerprint
    assert all(f"{argument}=" in repr(one()) for argument in one.__init__.__annotations__ if argument != "return")
    assert " at 0x" not in repr(one())


def test_fingerprint_follows_arguments_weights_and_version(monkeypatch):
    found = [Shift(), Shift(by=2), Shift(network=Weights()), Shift(network=lambda x: x)]
    assert repr(found[2]) == "Shift(by=1, network='0123')"
    assert repr(found[3]) == "Shift(by=1, network='function')"
    before = found[0].fingerprint
    assert len({one.fingerprint for one in found}) == 4
    monkeypatch.setattr(Shift, "VERSION", 2)
    assert found[0].fingerprint != before


@pytest.mark.parametrize("first", ["t2w", "image"])
def test_id_and_files_come_from_the_first_file(tmp_path, first):
    paths = {key: tmp_path / f"p7_{key}.nii.gz" for key in ("t2w", "adc")}
    for path in paths.values():
        path.touch()
    item = Shift().resolve({first: str(paths["t2w"])})
    assert item == {"id": "p7", **{key: str(path) for key, path in paths.items()}}
    assert Shift().resolve(item | {"id": "given"})["id"] == "given"
    paths["adc"].unlink()
    with pytest.raises(DataError, match=r"p7.*adc is missing"):
        Shift().resolve({first: str(paths["t2w"])})


def test_stack_is_taken_apart(tmp_path, save):
    values = torch.rand(6, 5, 4, 2)
    path = save(tmp_path / "p9.nii.gz", values.numpy())
    assert Shift().resolve({"image": path}) == {"image": path, "id": "p9"}
    item = Shift()._opened({"image": path})
    assert "image" not in item
    for index, key in enumerate(("t2w", "adc")):
        assert torch.equal(item[key].as_tensor()[0], values[..., index])


def test_metadata_name_the_grid_as_monai_does():
    meta = Shift._meta({GRID_AFFINE: torch.eye(4), GRID_SHAPE: torch.tensor([4, 5, 6])}, "a.nii")
    assert torch.equal(meta["original_affine"], torch.eye(4))
    assert meta["spatial_shape"].tolist() == [4, 5, 6]
    assert meta["filename_or_obj"] == "a.nii"

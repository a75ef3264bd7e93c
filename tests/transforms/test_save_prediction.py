import os

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.errors import ConfigError
from monai_ext.transforms import RememberGridd, RestoreToReferenced, SavePredictiond

AFFINE = torch.tensor([[-0.5, 0, 0, 9], [0, 0.6, 0.1, -4], [0, 0, 3.0, 2], [0, 0, 0, 1]], dtype=torch.float64)


def item():
    image = MetaTensor(torch.rand(1, 6, 5, 4), affine=AFFINE)
    item = RememberGridd("image")({"id": "case-1", "image": image})
    return RestoreToReferenced()({**item, "pred": torch.rand(1, 6, 5, 4)})


def test_writes_values_and_grid(tmp_path, caplog):
    data = item()
    with caplog.at_level("INFO"):
        SavePredictiond("pred", tmp_path, "probability")(data)
    assert caplog.messages == [f"written: {tmp_path / 'case-1/case-1_probability.nii.gz'}"]
    written = nib.load(tmp_path / "case-1/case-1_probability.nii.gz")
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), data["pred"][0].numpy())
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
    assert os.listdir(tmp_path / "case-1") == ["case-1_probability.nii.gz"]


def test_labels_are_small_integers(tmp_path):
    data = item()
    data["pred"] = (data["pred"] > 0.5).float()
    SavePredictiond("pred", tmp_path, "seg", torch.uint8)(data)
    written = nib.load(tmp_path / "case-1/case-1_seg.nii.gz")
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.get_fdata(), data["pred"][0].numpy())


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    save, data = SavePredictiond("pred", tmp_path, "seg"), item()
    save(data)
    path = tmp_path / "case-1/case-1_seg.nii.gz"
    before = path.read_bytes()

    def write_half(image, name):
        with open(name, "wb") as file:
            file.write(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("monai.data.image_writer.nib.save", write_half)
    cause = r"prediction of case case-1 to .*No space left on device: '.*/case-1/case-1_seg\.nii\.gz'\. .*--output_dir"
    with pytest.raises(ConfigError, match=cause):
        save(data)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write the prediction of case case-1"):
        SavePredictiond("pred", tmp_path / "file", "seg")(item())

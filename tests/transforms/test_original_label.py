import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch

from monai_ext.transforms import (
    BpMRIPreprocessing,
    OriginalLabeld,
    PETCTPreprocessing,
    SlicePreprocessing,
    VolumePreprocessing,
)

AFFINE = np.array([[-4.0, 0, 0, 60.0], [0, -4.0, 0, 50.0], [0, 0, 3.0, -20.0], [0, 0, 0, 1]])


def test_label_of_the_file_after_preprocessing_and_collating(tmp_path, save):
    rng = np.random.default_rng(0)
    label = (rng.random((14, 12, 10)) < 0.2).astype(np.uint8)
    shape = label.shape
    item = {
        "id": "a",
        "pet": save(tmp_path / "a_pet.nii.gz", rng.gamma(2, 2, shape).astype(np.float32), AFFINE),
        "ct": save(tmp_path / "a_ct.nii.gz", rng.normal(0, 400, shape).astype(np.float32), AFFINE),
        "label": save(tmp_path / "a_seg.nii.gz", label, AFFINE),
    }
    data = Dataset([item], PETCTPreprocessing(spacing=(6, 6, 6)))
    (batch,) = decollate_batch(next(iter(DataLoader(data))))
    assert batch["label"].shape != (1, *shape)
    found = OriginalLabeld()(batch)["label"]
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found[0].numpy(), label)
    np.testing.assert_allclose(found.affine.numpy(), nibabel.load(item["label"]).affine, atol=1e-5)
    assert np.allclose(found.pixdim.numpy(), [4, 4, 3])


@pytest.mark.parametrize(
    ("preprocessing", "options", "lesion"),
    [
        (VolumePreprocessing(spacing=(3, 3, 3), num_classes=4), {"lesion_from": None}, [0, 1, 2, 3]),
        (SlicePreprocessing(["image"], (8, 8), (6, 6, 6), lesion_values=(1, 3)), None, [0, 1, 0, 1]),
        (BpMRIPreprocessing((8, 8, 8), (16, 16, 8), lesion_from=2), None, [0, 0, 1, 1]),
    ],
)
def test_classes_and_lesions_of_every_preprocessing(tmp_path, save, preprocessing, options, lesion):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (14, 12, 10)).astype(np.uint8)
    names = ("t2w", "adc", "hbv") if isinstance(preprocessing, BpMRIPreprocessing) else ("image",)
    item = {name: save(tmp_path / f"a_{name}.nii.gz", rng.gamma(2, 200, label.shape), AFFINE) for name in names}
    for key, mask in (("label", label), ("gland", np.ones_like(label))):
        item |= {key: save(tmp_path / f"a_{key}.nii.gz", mask, AFFINE)} if key == "label" or len(names) > 1 else {}
    options = {"preprocessing": preprocessing} if options is None else options
    found = OriginalLabeld(**options)(preprocessing({"id": "a", **item}))["label"]
    np.testing.assert_array_equal(found[0].numpy(), np.array(lesion)[label])

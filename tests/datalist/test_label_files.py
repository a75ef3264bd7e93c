"""Labels made from other labels: values, grids, atomic files."""

import os

import nibabel as nib
import numpy as np
import pytest

from monai_ext.datalist import label_files
from monai_ext.datalist.label_files import combine_masks, label_folder, names_in, renumber, values_in
from monai_ext.errors import ConfigError, DataError

AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1]])


def save(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def masks(tmp_path):
    rng = np.random.default_rng(0)
    return [save(tmp_path / f"{n}.nii.gz", (rng.random((6, 5, 4)) < 0.4).astype(np.uint8)) for n in range(3)]


def test_combined_is_the_last_mask_of_each_voxel(masks, tmp_path):
    combine_masks(masks, tmp_path / "out.nii.gz")
    arrays = [np.asarray(nib.load(mask).dataobj) for mask in masks]
    expected = np.zeros((6, 5, 4), int)
    for index in np.ndindex(6, 5, 4):
        expected[index] = max((n + 1 for n in range(3) if arrays[n][index]), default=0)
    label = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(label.dataobj, expected)
    np.testing.assert_allclose(label.affine, AFFINE)


def test_a_mask_on_another_grid_or_too_many_are_refused_and_nothing_is_left(masks, tmp_path):
    out = tmp_path / "labels" / "out.nii.gz"
    out.parent.mkdir()
    moved = save(tmp_path / "moved.nii.gz", np.ones((6, 5, 4), np.uint8), AFFINE + np.eye(4)[[3, 1, 2, 0]].T)
    with pytest.raises(DataError, match=r"moved.nii.gz.*another grid than 0.nii.gz"):
        combine_masks([*masks, moved], out)
    with pytest.raises(ConfigError, match="256 structures"):
        combine_masks([masks[0]] * 256, out)
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_write_keeps_the_old_file(masks, tmp_path, monkeypatch):
    out = save(tmp_path / "out.nii.gz", np.zeros((6, 5, 4), np.uint8))
    before = out.read_bytes()
    os.utime(out, (1, 1))

    def interrupted(image, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(label_files.nib, "save", interrupted)
    with pytest.raises(ConfigError, match="No space left"):
        combine_masks(masks, out)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_renumber_and_values(tmp_path):
    array = np.random.default_rng(1).choice([0, 3, 117, 300], (6, 5, 4)).astype(np.int16)
    label = save(tmp_path / "a.nii.gz", array)
    assert values_in(label) == {3, 117, 300}
    renumber(label, {3: 2, 117: 1, 300: 3}, tmp_path / "b.nii.gz")
    table = {0: 0, 3: 2, 117: 1, 300: 3}
    np.testing.assert_array_equal(nib.load(tmp_path / "b.nii.gz").dataobj, np.vectorize(table.get)(array))
    with pytest.raises(DataError, match=r"\[117, 300\]"):
        renumber(label, {3: 1}, tmp_path / "c.nii.gz")
    with pytest.raises(DataError, match="whole numbers"):
        values_in(save(tmp_path / "d.nii.gz", array + np.float32(0.5)))
    assert names_in(label) == {}


def test_label_folder_lies_below_the_root(tmp_path):
    assert label_folder(None, tmp_path, "labels") == tmp_path / "labels"
    with pytest.raises(ConfigError, match="not below"):
        label_folder(str(tmp_path.parent / "other"), tmp_path, "labels")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make"):
        label_folder(None, tmp_path, "file")

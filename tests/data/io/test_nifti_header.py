"""Headers of NIfTI that nibabel would believe."""

import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest

from monai_ext.data.io.nifti_header import check_nifti
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError

SHAPE = (6, 5, 4)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_good_ones(tmp_path, kind, name, extended, order):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = kind(np.arange(120, dtype=np.int16).reshape(SHAPE), np.diag([2, 2, 3, 1]), header)
    if extended:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 3000))
    nibabel.save(image, tmp_path / name)
    assert check_nifti(tmp_path / name) == (120, 240)
    assert read_volume(tmp_path / name).shape == (1, *SHAPE)


def save(path, dtype, values=None):
    values = np.zeros(SHAPE, dtype) if values is None else values
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


@pytest.mark.parametrize(
    ("dtype", "what"),
    [
        (np.complex64, "complex numbers"),
        (np.complex128, "complex numbers"),
        ([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours"),
        ([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")], "colours"),
    ],
)
def test_voxels_that_are_no_numbers(tmp_path, dtype, what):
    path = save(tmp_path / "a.nii.gz", dtype)
    with pytest.raises(DataError, match=f"a.nii.gz: its voxels are {what}"):
        read_volume(path)


@pytest.mark.parametrize("length", [2**31 - 16, -16, 0, 7])
def test_an_extension_that_claims_gigabytes_of_a_small_file(tmp_path, length):
    """300 MB of zeros in 300 KB: nibabel would read them all for the extension."""
    raw = bytearray(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)).to_bytes()[:352])
    raw[348] = 1
    struct.pack_into("<f", raw, 108, 2048.0)
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw) + struct.pack("<ii", length, 6) + bytes(3 * 10**8), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match=f"bomb.nii.gz: .*an extension of {length} bytes"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("offset", [1e9, 10.0, float("nan"), float("inf"), 352.5])
def test_voxels_that_begin_nowhere(tmp_path, offset):
    path = save(tmp_path / "a.nii", np.int16)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, 108, offset)
    path.write_bytes(raw)
    with pytest.raises(DataError, match="begin at byte"):
        check_nifti(path)

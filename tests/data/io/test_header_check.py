"""Headers that contradict their files are refused before any reader allocates what they claim."""

import itk
import matplotlib.image
import nibabel
import numpy as np
import pytest

from monai_ext.data.io.header_check import MAX_RATIO, check_header, check_size
from monai_ext.errors import DataError

SHAPE = (4, 6, 5)


def save(path, compress=False):
    values = np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.int16)
    itk.imwrite(itk.image_from_array(values.T.copy()), str(path), compression=compress)
    return path


def change(path, old, new):
    """Replace a line of a MetaImage's header."""
    lines = path.read_bytes().split(b"\n")
    (place,) = (i for i, line in enumerate(lines[:20]) if line.startswith(old.encode() + b" ="))
    lines[place : place + 1] = [line.encode() for line in new]
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_what_itk_writes_passes(tmp_path, name, compress):
    check_header(save(tmp_path / name, compress))


@pytest.mark.parametrize(
    ("field", "lines", "match"),
    [
        ("NDims", [], "NDims"),
        ("NDims", ["NDims = three"], "NDims"),
        ("NDims", ["NDims = 9"], "NDims = 9"),
        ("DimSize", ["DimSize = 4 6"], r"DimSize = \[4, 6\]"),
        ("DimSize", ["DimSize = 4 0 5"], r"DimSize = \[4, 0, 5\]"),
        ("DimSize", ["DimSize = 4 -6 5"], r"DimSize = \[4, -6, 5\]"),
        ("DimSize", ["DimSize = 4 6 6"], "the file ends early: 240 bytes of voxels, 288 stated"),
        ("DimSize", ["DimSize = 40000 60000 50000"], "the file ends early"),
        ("ElementType", ["ElementType = MET_COMPLEX"], "ElementType = MET_COMPLEX"),
        ("ElementType", ["ElementType = MET_DOUBLE"], "240 bytes of voxels, 960 stated"),
        ("ElementSpacing", ["ElementSpacing = 1 1"], "ElementSpacing = 1 1"),
        ("ElementSpacing", ["ElementSpacing = 1 nan 1"], "ElementSpacing = 1 nan 1"),
        ("ElementSpacing", ["ElementSpacing = 1 wide 1"], "ElementSpacing = 1 wide 1"),
        ("TransformMatrix", ["TransformMatrix = 1 0 0 0 1 0"], "TransformMatrix"),
        ("Offset", ["Offset = 0 0 inf"], "Offset = 0 0 inf"),
        ("ElementType", ["ElementType = MET_SHORT", "ElementType = MET_SHORT"], "ElementType occurs twice"),
        ("ElementType", ["ElementNumberOfChannels = 2000", "ElementType = MET_SHORT"], "2000 channels"),
        ("ElementDataFile", ["ElementDataFile = /etc/passwd"], "beside the header"),
        ("ElementDataFile", ["ElementDataFile = ../a.raw"], "beside the header"),
        ("ElementDataFile", ["ElementDataFile = LIST"], "beside the header"),
        ("ElementDataFile", ["ElementDataFile = slice%03d.raw"], "beside the header"),
        ("ElementDataFile", ["ElementDataFile = none.raw"], "voxels are missing: none.raw"),
    ],
)
def test_fields_that_would_stop_the_process(tmp_path, field, lines, match):
    path = save(tmp_path / "a.mha")
    change(path, field, lines)
    with pytest.raises(DataError, match=match) as caught:
        check_header(path)
    assert caught.value.file == path
    assert "copy or export it again" in caught.value.remedy


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_voxels_that_end_early(tmp_path, name, compress):
    path = save(tmp_path / name, compress)
    voxels = path if name == "a.mha" else path.with_suffix(".zraw" if compress else ".raw")
    voxels.write_bytes(voxels.read_bytes()[:-1])
    with pytest.raises(DataError, match="the file ends early"):
        check_header(path)


def test_a_nifti_whose_header_claims_more_than_its_file_could_hold(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), path)
    check_header(path)
    plain = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), plain)
    header = bytearray(plain.read_bytes())
    header[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1:4]
    plain.write_bytes(header)
    with pytest.raises(DataError, match=f"claims {2 * 30000**3} bytes of voxels, the file holds {len(header)}"):
        check_header(plain)


def test_dicom_is_followed_to_its_end_and_what_no_reader_knows_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="no reader knows this format"):
        check_header(tmp_path / "notes.txt")
    # Preamble, prefix, and one element of type UL that claims 4000 bytes.
    (tmp_path / "a.dcm").write_bytes(
        bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL" + (4000).to_bytes(2, "little") + b"1234"
    )
    with pytest.raises(DataError, match=r"element \(0002,0000\) claims 4000 bytes, 4 are left"):
        check_header(tmp_path / "a.dcm")


def test_a_picture_in_colours_is_refused(tmp_path):
    matplotlib.image.imsave(tmp_path / "a.png", np.zeros((6, 5, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png: its voxels are rgba, not numbers\. Export the scan as grey"):
        check_header(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.mhd", "a.nrrd", "a.nhdr", "a.png"])
def test_more_voxels_than_are_read_in_each_format(tmp_path, monkeypatch, name):
    if name == "a.png":
        itk.imwrite(itk.image_from_array(np.zeros((10, 12), np.uint8)), str(tmp_path / name))
    else:
        save(tmp_path / name, compress=True)
    monkeypatch.setenv("MONAI_EXT_MAX_VOXELS", "120")
    check_header(tmp_path / name)
    monkeypatch.setenv("MONAI_EXT_MAX_VOXELS", "119")
    with pytest.raises(DataError, match=rf"{name}: 120 voxels .* at most 119 voxels are read"):
        check_header(tmp_path / name)


def test_size_up_to_what_compression_can_reach(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(5))
    check_size(10 * MAX_RATIO, tmp_path / "a")
    check_size(15 * MAX_RATIO, tmp_path)  # a directory holds what its files hold
    for needed, path in ((10 * MAX_RATIO + 1, tmp_path / "a"), (15 * MAX_RATIO + 1, tmp_path), (-1, tmp_path / "a")):
        with pytest.raises(DataError, match=f"claims {needed} bytes"):
            check_size(needed, path)

import struct

import itk
import numpy as np
import pytest

from monai_ext.data.io.dicom_series import check_elements, intact_series
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError


def write(path, z=0):
    image = itk.image_from_array(np.arange(72, dtype=np.int16).reshape(1, 8, 9))
    image.SetOrigin([0.0, 0.0, 3.0 * z])
    tags = image.GetMetaDataDictionary()
    tags["0020|000e"], tags["0008|0018"], tags["0008|0060"] = "1.2.3", f"1.2.4.{z + 1}", "MR"
    itk.imwrite(image, str(path), imageio=itk.GDCMImageIO.New(KeepOriginalUID=True))


def element(group, number, kind, value, length=None):
    length = len(value) if length is None else length
    if kind in (b"SQ", b"OB", b"OW", b"UN"):
        return struct.pack("<HH2sHI", group, number, kind, 0, length) + value
    return struct.pack("<HH2sH", group, number, kind, length) + value


def item(value, undefined=False):
    length = 0xFFFFFFFF if undefined else len(value)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", length) + value + (b"\xfe\xff\x0d\xe0\0\0\0\0" if undefined else b"")


def dicom(body, syntax=b"1.2.840.10008.1.2.1\0"):
    return bytes(128) + b"DICM" + element(2, 0x10, b"UI", syntax) + body


END = b"\xfe\xff\xdd\xe0\0\0\0\0"
NESTED = element(8, 0x60, b"CS", b"MR")
GOOD = {
    "plain": dicom(NESTED),
    "sequence": dicom(element(8, 0x1140, b"SQ", item(NESTED)) + NESTED),
    "undefined sequence": dicom(element(8, 0x1140, b"SQ", item(NESTED, True) + END, 0xFFFFFFFF) + NESTED),
    "encapsulated": dicom(element(0x7FE0, 0x10, b"OB", item(b"") + item(b"\x01\x02" * 9) + END, 0xFFFFFFFF)),
    "implicit": dicom(struct.pack("<HHI", 8, 0x60, 2) + b"MR", b"1.2.840.10008.1.2\0"),
    "big endian": dicom(struct.pack(">HH2sH", 8, 0x60, b"CS", 2) + b"MR", b"1.2.840.10008.1.2.2\0"),
    "padded": dicom(NESTED + bytes(64)),
}
BAD = {
    "too long": (dicom(element(0x7FE0, 0x10, b"OW", b"ab", 1_200_000_000)), "claims 1200000000 bytes, 2 are left"),
    "nested too long": (dicom(element(8, 0x1140, b"SQ", item(element(8, 0x60, b"CS", b"MR", 9999)))), "claims 9999"),
    "implicit too long": (dicom(struct.pack("<HHI", 8, 0x60, 77) + b"MR", b"1.2.840.10008.1.2\0"), "claims 77"),
    "no type": (dicom(struct.pack("<HH2sH", 8, 0x60, b"zz", 2) + b"MR"), "no known type"),
    "deflated": (dicom(b"\x03\x04" * 9, b"1.2.840.10008.1.2.1.99"), "deflated"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_standard_allows(tmp_path, name):
    (tmp_path / "a.dcm").write_bytes(GOOD[name])
    assert check_elements(tmp_path / "a.dcm")


@pytest.mark.parametrize("name", BAD)
def test_lengths_that_cannot_be(tmp_path, name):
    content, cause = BAD[name]
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(DataError, match=cause):
        check_elements(tmp_path / "a.dcm")


def test_every_truncation_of_a_file_inside_an_element_is_found(tmp_path):
    write(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    assert check_elements(tmp_path / "a.dcm")
    (tmp_path / "a.dcm").write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"\(7fe0,0010\) claims 144 bytes, 143 are left"):
        check_elements(tmp_path / "a.dcm")


def test_what_is_no_dicom_is_left_out(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for z in range(3):
        write(folder / f"{z}.dcm", z)
    with intact_series(folder) as same:
        assert same == folder
    (folder / "readme.txt").write_text("nothing " * 99)
    with intact_series(folder) as safe:
        assert sorted(path.name for path in safe.iterdir()) == ["0.dcm", "1.dcm", "2.dcm"]
    assert not safe.exists()
    assert read_volume(folder).shape == (1, 9, 8, 3)
    (folder / "1.dcm").write_bytes((folder / "1.dcm").read_bytes()[:-4])
    with pytest.raises(DataError, match=r"case 7: .*1\.dcm: .*claims"):
        read_volume(folder, 7)


def test_real_series_are_intact(real_data):
    real = real_data("prostatex_bpmri")
    roots = [path for case in real.iterdir() if (case / "dicom").is_dir() for path in (case / "dicom").iterdir()]
    roots += [path.parent for path in (real.parent / "ct_multiorgan").rglob("*.dcm")][:1]
    for folder in roots:
        assert all(check_elements(file) for file in folder.iterdir() if file.suffix in (".dcm", ""))

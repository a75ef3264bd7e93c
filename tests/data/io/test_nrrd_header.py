"""Headers of NRRD that ITK would believe."""

import itk
import numpy as np
import pytest

from monai_ext.data.io.image_header import read_header
from monai_ext.data.io.nrrd_header import TYPES, check_nrrd
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import DataError

SHAPE = (6, 5, 4)
GOOD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "6 5 4",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}


def write(path, fields, voxels=bytes(240)):
    text = "NRRD0004\n# comment\n" + "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)
    path.write_bytes(text.encode() + b"note:=1\n\n" + voxels)
    return path


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_what_itk_writes_is_read(tmp_path, name, compression, kind):
    path = tmp_path / name
    itk.imwrite(
        itk.image_from_array(np.arange(120).reshape(SHAPE[::-1]).astype(kind)), str(path), compression=compression
    )
    voxels, needed, source = check_nrrd(path)
    assert (voxels, needed) == (120, 120 * np.dtype(kind).itemsize)
    assert source == (path if name == "a.nrrd" else next(file for file in tmp_path.iterdir() if file != path))
    assert read_volume(path).shape == (1, *SHAPE)
    assert read_header(path).shape == SHAPE


@pytest.mark.parametrize("kind", TYPES)
def test_every_name_of_a_type_has_its_size(tmp_path, kind):
    path = write(tmp_path / "a.nrrd", GOOD | {"type": kind}, bytes(120 * 8))
    assert check_nrrd(path)[1] == 120 * TYPES[kind]
    if (TYPES[kind] < 8 and kind not in ("signed char", "int8", "int8_t")) or kind in ("double", "uint64"):
        assert read_volume(path).shape == (1, *SHAPE)  # ITK knows the name too, and wraps the type for Python


@pytest.mark.parametrize(
    "data", ["/etc/services", "../secret.raw", "LIST", "a%02d.raw 1 3 1", "sub/a.raw", "", "no.raw"]
)
@pytest.mark.parametrize("key", ["data file", "datafile"])
def test_no_file_outside_its_folder(tmp_path, data, key):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(b"s" * 240)
    path = write(tmp_path / "in/a.nhdr", GOOD | {key: data}, b"")
    for read in (read_header, read_volume):
        with pytest.raises(DataError, match=r"a file beside the header is expected|its voxels are missing"):
            read(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"type": "block"}, "type: block"),
        ({"type": None}, "type: missing"),
        ({"encoding": "ascii"}, "encoding"),
        ({"sizes": "6 5"}, "sizes"),
        ({"sizes": "60000 60000 60000"}, "ends early"),
        ({"sizes": "60000 60000 60000", "encoding": "gzip"}, "claims"),
        ({"sizes": "0 5 4"}, "sizes"),
        ({"dimension": "x"}, "sizes"),
        ({"dimension": None}, "dimension: missing"),
        ({"byte skip": "-1"}, "byte skip"),
        ({"kinds": "RGB-color domain domain"}, "its voxels are RGB-color"),
        ({"kinds": "complex domain domain"}, "its voxels are complex"),
        ({"Type": "short"}, "occurs twice"),
    ],
)
def test_fields_that_are_refused(tmp_path, change, match):
    path = write(tmp_path / "a.nrrd", GOOD | change)
    for read in (read_header, read_volume):
        with pytest.raises(DataError, match=match) as caught:
            read(path)
        assert caught.value.file == path


def test_voxels_that_end_early(tmp_path):
    with pytest.raises(DataError, match="the file ends early: 239 bytes of voxels, 240 stated"):
        read_volume(write(tmp_path / "a.nrrd", GOOD, bytes(239)))

import itk
import numpy as np
import pytest

from monai_ext.data.io.image_files import BLOCK, file_print, image_files, image_print


def test_print_reads_both_ends(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * BLOCK))
    whole = file_print(path)
    for place in (0, 4 * BLOCK - 1):
        content = bytearray(4 * BLOCK)
        content[place] = 1
        path.write_bytes(bytes(content))
        assert file_print(path) != whole
    path.write_bytes(bytes(4 * BLOCK + 1))
    assert file_print(path) != whole


@pytest.mark.parametrize(("name", "voxels"), [("a.mhd", "a.raw"), ("a.mhd", "a.zraw"), ("a.nhdr", "a.raw")])
def test_the_voxels_beside_a_header_belong_to_the_image(tmp_path, name, voxels):
    path = tmp_path / name
    image = itk.image_from_array(np.ones((4, 5, 6), np.int16))
    itk.imwrite(image, str(path), compression=voxels.endswith("zraw"))
    other = next(file for file in tmp_path.iterdir() if file != path)
    assert image_files(path) == [path, other]
    before = image_print(path)
    other.write_bytes(other.read_bytes()[:-1] + b"\x07")
    assert image_print(path) != before


def test_a_folder_is_all_its_files_and_a_file_is_itself(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    (tmp_path / "below").mkdir()
    assert image_files(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert image_files(tmp_path / "a") == [tmp_path / "a"]
    assert image_print(tmp_path / "a") == file_print(tmp_path / "a")


def test_a_header_names_no_file_outside_its_folder(tmp_path):
    path = tmp_path / "a.mhd"
    for data in ("/etc/passwd", "../b", "missing.raw", "LOCAL", "a.mhd"):
        path.write_text(f"NDims = 3\nElementDataFile = {data}\n")
        assert image_files(path) == [path]

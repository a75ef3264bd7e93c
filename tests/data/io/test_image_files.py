import gzip

import itk
import numpy as np
import pytest

from monai_ext.data.io import image_files as module
from monai_ext.data.io.image_files import BLOCK, file_print, image_files, image_print


@pytest.mark.parametrize("place", [0, BLOCK + 7, 3 * BLOCK, -1])
def test_a_byte_anywhere_changes_the_print_of_what_is_not_compressed(tmp_path, place):
    path, content = tmp_path / "a.nii", bytearray(range(256)) * (BLOCK // 64)
    path.write_bytes(content)
    whole = file_print(path)
    content[place] ^= 1
    path.write_bytes(content)
    assert file_print(path) != whole
    path.write_bytes(bytes(content) + b"x")
    assert file_print(path) != whole


def test_compressed_files_are_told_by_their_checksum(tmp_path):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 256, 10 * BLOCK, dtype=np.uint8)
    prints = set()
    for value in (0, 1):
        voxels[5 * BLOCK] = value
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(voxels.tobytes(), 1, mtime=0))
        prints.add(file_print(tmp_path / "a.nii.gz"))
    assert len(prints) == 2


def test_large_files_are_sampled_to_their_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WHOLE", 0)
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "SAMPLED", 5)
    path, content = tmp_path / "a.nii", bytearray(80)
    path.write_bytes(content)
    whole = file_print(path)
    seen = []
    for place in range(80):
        content[place] ^= 1
        path.write_bytes(content)
        content[place] ^= 1
        seen.append(file_print(path) != whole)
    blocks = [0, 18, 36, 54, 72]  # evenly from the first to the last eight bytes
    assert [place for place in range(80) if seen[place]] == [b + i for b in blocks for i in range(8)]


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

"""The series of an export whose files were shuffled, renamed and anonymised."""

import shutil

import nibabel as nib
import numpy as np
import pytest
from dicom_files import write_dicom_series

from monai_ext.data.io import dicom_export
from monai_ext.data.io.dicom_export import is_dicom, read_export, series_folder
from monai_ext.data.io.volume import read_volume
from monai_ext.errors import ConfigError

pydicom = pytest.importorskip("pydicom")


def image(value, shape=(9, 8, 5)):
    rng = np.random.default_rng(value)
    affine = np.array([[2.0, 0, 0, -30], [0, 1.5, 0, 7], [0, 0, 4, value], [0, 0, 0, 1]])
    return nib.Nifti1Image(rng.integers(0, 900, shape).astype(np.int16), affine)


@pytest.fixture
def export(tmp_path):
    """Three series of two patients in one folder, under names that tell nothing."""
    for number, (patient, description) in enumerate([("a", "T2"), ("a", "ADC"), ("b", "T2")]):
        write_dicom_series(
            image(number), tmp_path, patient, "MR", description, lambda z, n=number: f"{(7 * z + n):04d}"
        )
    return tmp_path


def test_files_of_one_folder_are_sorted(export):
    (export / "notes.txt").write_text("no image")
    files = [path for path in sorted(export.iterdir()) if is_dicom(path)]
    assert len(files) == 15
    found, broken = read_export(reversed(files))
    assert broken == []
    assert [(s.patient, s.description, len(s.files), s.plane) for s in found] == [
        *(("a", "ADC", 5, "axial"), ("a", "T2", 5, "axial"), ("b", "T2", 5, "axial"))
    ]
    assert found[0].study == found[1].study != found[2].study
    assert str(found[0]) == "MR 'ADC' (5 images)"


def test_links_give_the_images_of_one_series(export, tmp_path):
    files = sorted(path for path in export.iterdir() if path.is_file())
    found, _ = read_export(files)
    for _ in range(2):  # also when the links are there
        for series, number in zip(found, (1, 0, 2)):
            folder = series_folder(series, files, tmp_path / "links" / f"s{number}")
            assert len(list(folder.iterdir())) == 5
            volume, expected = read_volume(folder), nib.as_closest_canonical(image(number))
            axes = nib.orientations.io_orientation(volume.affine.numpy())
            values = nib.orientations.apply_orientation(volume[0].numpy(), axes)
            np.testing.assert_array_equal(values, np.asarray(expected.dataobj))
    files[-1].unlink()
    assert len(list(series_folder(read_export(files[:-1])[0][2], files[:-1], tmp_path / "links/s2").iterdir())) == 4


def test_a_series_in_a_folder_of_its_own_needs_no_links(tmp_path):
    folder = write_dicom_series(image(0), tmp_path / "t2", "a", "MR", "T2")
    files = sorted(folder.iterdir())
    (series,), _ = read_export(files)
    assert series_folder(series, files, tmp_path / "links") == folder
    assert not (tmp_path / "links").exists()


def test_blank_uids_are_told_apart_by_folder_and_description(tmp_path):
    for number, description in enumerate(("T2", "ADC")):
        folder = write_dicom_series(image(number), tmp_path / str(number), "", "MR", description)
        for path in folder.iterdir():
            header = pydicom.dcmread(path)
            header.SeriesInstanceUID = header.StudyInstanceUID = ""
            header.save_as(path)
            shutil.move(path, tmp_path / f"{number}{path.name}")
        folder.rmdir()
    found, _ = read_export(sorted(tmp_path.iterdir()))
    assert [(s.description, len(s.files)) for s in found] == [("ADC", 5), ("T2", 5)]
    assert found[0].study == found[1].study


def test_a_header_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    found, broken = read_export([tmp_path / "x"])
    assert [series.plane for series in found] in ([], [""])
    assert len(found) + len(broken) == 1


def test_without_pydicom_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dicom_export, "INSTALLED", False)
    with pytest.raises(ConfigError, match=r"monai-ext\[dicom\]"):
        read_export([])

"""Links in the order of a choice."""

import pytest

from monai_ext.errors import ConfigError
from monai_ext.select.studies import link_studies
from monai_ext.transforms import BpMRIPreprocessing


@pytest.fixture
def scans(tmp_path):
    found = {}
    for patient in ("a", "b", "c"):
        for key in ("t2w", "adc", "hbv"):
            (tmp_path / f"{patient}_{key}.nii.gz").write_text(patient)
        found[patient] = [{"id": patient, "t2w": str(tmp_path / f"{patient}_t2w.nii.gz")}]
    return found


def test_names_in_order_are_patients_in_order(scans, tmp_path):
    links = link_studies(tmp_path / "studies", ["c", "a"], scans, BpMRIPreprocessing())
    assert [link.name for link in links] == ["001_c_t2w.nii.gz", "002_a_t2w.nii.gz"]
    assert [path.read_text() for path in sorted((tmp_path / "studies").iterdir())] == ["c", "a"]
    (tmp_path / "studies/datastore_v2.json").write_text("{}")
    link_studies(tmp_path / "studies", ["b"], scans, BpMRIPreprocessing())
    assert sorted(path.name for path in (tmp_path / "studies").iterdir()) == ["001_b_t2w.nii.gz", "datastore_v2.json"]


def test_a_file_without_its_case_gets_it(tmp_path):
    (tmp_path / "p7").mkdir()
    (tmp_path / "p7/flair.nii").write_text("")
    links = link_studies(tmp_path / "studies", ["p7"], {"p7": [{"id": "p7", "image": str(tmp_path / "p7/flair.nii")}]})
    assert links[0].name == "001_p7_flair.nii"


def test_what_a_server_would_not_find_is_said(scans, tmp_path):
    (tmp_path / "a_adc.nii.gz").rename(tmp_path / "other.nii.gz")
    scans["a"][0]["adc"] = str(tmp_path / "other.nii.gz")
    with pytest.raises(ConfigError, match=r"modalities of case a do not lie beside .*a_t2w"):
        link_studies(tmp_path / "studies", ["a"], scans, BpMRIPreprocessing())
    (tmp_path / "b_t2w.nii.gz").unlink()
    (tmp_path / "b_t2w.nii.gz").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        link_studies(tmp_path / "studies", ["b"], scans, BpMRIPreprocessing())
    with pytest.raises(ConfigError, match="names no t2w"):
        link_studies(tmp_path / "studies", ["c"], {"c": [{"id": "c", "adc": "x"}]}, BpMRIPreprocessing())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write --studies"):
        link_studies(tmp_path / "file", ["c"], scans, BpMRIPreprocessing())

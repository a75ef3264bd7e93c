"""Patients behind weights and patients of a test."""

import pytest
from monai.data import Dataset
from torch.utils.data import TensorDataset

from monai_ext.errors import ConfigError
from monai_ext.handlers.seen import patients_in, refuse_seen


def test_patients_of_a_data_set_and_of_what_it_wraps():
    items = [{"id": "b"}, {"id": "a1", "patient": "a"}, {"id": "a2", "patient": "a"}]
    assert patients_in(items) == patients_in(Dataset(Dataset(items))) == ["a", "b"]
    assert patients_in([{"image": "t.nii.gz"}]) == patients_in(TensorDataset()) == patients_in([0, 1]) == []


def test_only_common_patients_are_refused_and_counted(caplog):
    seen = {"pretrained": ["a", "b"], "model": ["x"]}
    assert refuse_seen(seen, ["c", "d"], False) == {}
    with pytest.raises(ConfigError, match=r"pretrained has learned from 1 of the 2 patients .* \(b\).*--allow_seen"):
        refuse_seen(seen, ["b", "c"], False)
    assert refuse_seen(seen, ["b", "c"], True) == {"pretrained": ["b"]}
    assert "says nothing about new patients" in caplog.text

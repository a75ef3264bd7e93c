import pytest

from monai_ext.data.io.record import (
    check_product,
    describe_origin,
    differences,
    metrics_behind,
    patients_behind,
    read_record,
    record_file,
    write_record,
)
from monai_ext.errors import CheckpointError


def test_lies_beside_its_product_and_reads_back(tmp_path):
    product = tmp_path / "models" / "pretrained.pt"
    write_record(product, {"settings": {"lr": 1e-3, "note": "ä"}})
    assert record_file("out/p.1_seg.nii.gz").as_posix() == "out/p.1_seg.record.json"
    assert record_file(product) == tmp_path / "models" / "pretrained.record.json"
    assert read_record(product) == read_record(str(product)) == {"settings": {"lr": 1e-3, "note": "ä"}}


def test_what_was_measured_is_no_part_of_what_made_it(tmp_path):
    write_record(tmp_path / "a.pt", {"seed": 0}, {"r2": 0.5})
    assert read_record(tmp_path / "a.pt") == {"seed": 0}
    assert metrics_behind(tmp_path / "a.pt") == {"r2": 0.5}
    assert metrics_behind(tmp_path / "b.pt") == {}


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"], ids=["none", "empty", "cut off", "no text"])
def test_nothing_readable_is_no_record(tmp_path, content):
    if content is not None:
        record_file(tmp_path / "a.pt").write_bytes(content)
    assert read_record(tmp_path / "a.pt") is None


def test_differences_are_words():
    before = {"version": "1", "settings": {"seed": 0, "net": {"width": 8}}, "data": {"training": {"a": "1", "b": "2"}}}
    now = {
        "version": "1",
        "settings": {"seed": 1, "net": {"width": 9}, "new": "x" * 99},
        "data": {"training": {"a": "1"}},
    }
    found = differences(before, now)
    assert found[0] == "seed was 0, is 1"
    assert found[1] == "net#width was 8, is 9"
    assert found[2].startswith("new was not set, is ")
    assert len(found[2]) < 90
    assert found[3] == "case b of section training is gone"
    assert differences(before, before) == []


def test_who_taught_a_file_of_weights(tmp_path):
    weights = tmp_path / "model.pt"
    assert patients_behind(weights) is None
    assert "unknown" in describe_origin(weights)
    record = {"version": "1", "settings": {"seed": 3, "val_fold": 0}, "patients": {"train": ["b", "a"]}}
    write_record(weights, record | {"seen": {"pretrained": ["c", "a"]}})
    assert patients_behind(weights) == {"a", "b", "c"}
    assert describe_origin(weights) == "trained on 3 patients (a, b, c), seed 3, val_fold 0, version 1"


def test_a_product_is_what_its_record_says(tmp_path):
    product = tmp_path / "model.pt"
    product.write_bytes(bytes(10**5))
    check_product(product)  # it has no record
    write_record(product, {"settings": {}})
    check_product(product)
    assert read_record(product) == {"settings": {}}
    content = bytearray(product.read_bytes())
    content[5 * 10**4] ^= 1
    product.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.pt: its content is not what model.record.json says"):
        check_product(product)
    record_file(product).unlink()
    check_product(product)

import pytest

from monai_ext.data.io.record import read_record, record_file, write_record


def test_lies_beside_its_product_and_reads_back(tmp_path):
    product = tmp_path / "models" / "pretrained.pt"
    write_record(product, {"settings": {"lr": 1e-3, "note": "ä"}})
    assert record_file(product) == tmp_path / "models" / "pretrained.record.json"
    assert read_record(product) == read_record(str(product)) == {"settings": {"lr": 1e-3, "note": "ä"}}


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"], ids=["none", "empty", "cut off", "no text"])
def test_nothing_readable_is_no_record(tmp_path, content):
    if content is not None:
        record_file(tmp_path / "a.pt").write_bytes(content)
    assert read_record(tmp_path / "a.pt") is None

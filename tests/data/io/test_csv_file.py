import csv

import pytest

from monai_ext.data.io.csv_file import write_csv


def test_what_a_row_lacks_is_empty(tmp_path):
    write_csv([{"case": "a", "dice": 0.5}, {"case": "b, c", "auroc": 1}], tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"case": "a", "dice": "0.5", "auroc": ""},
            {"case": "b, c", "dice": "", "auroc": "1"},
        ]


def test_named_columns_without_rows_are_a_header(tmp_path):
    write_csv([], tmp_path / "t.csv", ["case", "dice"], lineterminator="\n")
    assert (tmp_path / "t.csv").read_text() == "case,dice\n"


def test_a_row_that_cannot_be_written_leaves_the_old_table(tmp_path):
    (tmp_path / "t.csv").write_text("old")
    with pytest.raises(ValueError, match="dice"):
        write_csv([{"case": "a", "dice": 1}], tmp_path / "t.csv", ["case"])
    assert (tmp_path / "t.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]

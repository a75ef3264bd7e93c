import math

import pytest

from monai_ext.metrics import summarize
from monai_ext.table import CaseValues, Cell, read_cases, write_cases


@pytest.fixture
def values(tmp_path):
    """Two rows, one draw, two seeds; patient p1 has two scans, and p2 no surface distance."""
    found = CaseValues()
    for row, gain in (("a", 0.0), ("b", 0.1)):
        for seed in (0, 1):
            lines = ["case,patient,dice,nsd", f"s1,p1,{0.2 + gain + 0.1 * seed},0.5", f"s2,p1,{0.4 + gain},0.7"]
            (tmp_path / "cases.csv").write_text("\n".join([*lines, f"s3,p2,{0.6 + gain},"]))
            found.add(row, Cell(seed, 4), tmp_path / "cases.csv")
    return found


def test_a_patient_counts_once_whatever_its_scans_and_seeds(values):
    lines, matrix = values.matrix("a", "dice")
    assert list(lines) == [("", "p1"), ("", "p2")]
    assert matrix[:, 0].tolist() == pytest.approx([(0.2 + 0.3 + 0.4 + 0.4) / 4, 0.6])
    found = values.summary("a", "dice")
    expected = summarize(matrix[:, 0])
    assert found["mean"] == pytest.approx(expected["mean"])
    assert (found["patients"], found["draws"], values.seeds("a")) == (2, 1, ["0", "1"])
    assert math.isnan(values.matrix("a", "nsd")[1][1, 0])


def test_differences_are_paired(values):
    gap = values.difference("b", "a", "dice")
    assert gap["mean"] == pytest.approx(0.1)
    assert gap["ci_high"] - gap["ci_low"] < 1e-9
    assert values.difference("a", "b", "dice")["mean"] == pytest.approx(-0.1)


def test_what_is_written_is_read_back(values, tmp_path):
    write_cases(values, tmp_path / "all.csv")
    again = read_cases(tmp_path / "all.csv")
    assert again.metrics == values.metrics == ["dice", "nsd"]
    assert again.difference("b", "a", "dice") == values.difference("b", "a", "dice")


def test_a_detection_is_judged_over_all_cases(tmp_path):
    """Row b is surer of the one lesion that row a ranks below a false alarm."""
    found = CaseValues()
    for row, sure in (("a", 0.3), ("b", 0.8)):
        lines = ["case,patient,dice,candidates", f"s1,p1,0.5,1:{sure}", "s2,p2,,0:0.5", "s3,p3,,", "s4,p4,,1:0.9"]
        (tmp_path / "cases.csv").write_text("\n".join(lines))
        found.add(row, Cell(0), tmp_path / "cases.csv")
    assert found.metrics == ["auroc", "ap", "score", "dice"]
    write_cases(found, tmp_path / "all.csv")
    again = read_cases(tmp_path / "all.csv")
    assert again.metrics == found.metrics
    assert again.summary("a", "auroc")["mean"] == 0.75  # p1 is below p2, above p3
    assert again.difference("b", "a", "auroc")["mean"] == 0.25
    assert again.summary("a", "ap")["mean"] == pytest.approx((1 + 2 / 3) / 2)
    assert again.difference("b", "a", "ap")["mean"] == pytest.approx(1 - (1 + 2 / 3) / 2)
    assert again.summary("a", "dice")["mean"] == 0.5


def test_detections_are_compared_draw_by_draw(tmp_path):
    """Whatever the order in which they were finished, and where a row has draws that the other does not have yet."""
    values = CaseValues()
    for row, draws in (("a", (0, 1)), ("b", (2, 1, 0))):
        for draw in draws:
            sure = [0.9, 0.6, 0.2][draw]
            lines = ["case,patient,candidates", f"s1,p1,1:{sure}", "s2,p2,0:0.5", "s3,p3,0:0.3", "s4,p4,1:0.4"]
            (tmp_path / "cases.csv").write_text("\n".join(lines))
            values.add(row, Cell(0, draw), tmp_path / "cases.csv")
    for gap in (values.difference("b", "a", "ap"), values.difference("a", "b", "ap")):
        assert (gap["mean"], gap["ci_low"], gap["ci_high"], gap["draws"]) == (0, 0, 0, 2)
    assert values.difference("b", "c", "ap")["patients"] == 0


def test_a_choice_is_compared_with_every_draw(tmp_path):
    """Four draws of one row, one choice of another; what patients differ by cancels out."""
    found, dice = CaseValues(), {"p1": 0.2, "p2": 0.7}
    gains = {0: 0.00, 1: 0.05, 2: 0.10, 3: 0.20}
    cells = [("a", Cell(seed, draw), gain) for seed in (0, 1) for draw, gain in gains.items()]
    cells += [("a, by encoder", Cell(seed, choice="encoder"), 0.12) for seed in (0, 1)]
    for row, cell, gain in cells:
        lines = [f"{p}_s,{p},{value + gain + 0.01 * cell.seed}" for p, value in dice.items()]
        (tmp_path / "cases.csv").write_text("\n".join(["case,patient,dice", *lines]))
        found.add(row, cell, tmp_path / "cases.csv")
    gap, share = found.against_draws("a, by encoder", "a", "dice")
    assert share == 0.75
    assert gap["mean"] == pytest.approx(0.12 - sum(gains.values()) / 4)
    assert (gap["patients"], gap["draws"]) == (2, 4)
    assert found.summary("a", "dice")["draws"] == 4
    assert found.summary("a, by encoder", "dice")["mean"] == pytest.approx(0.45 + 0.12 + 0.005)

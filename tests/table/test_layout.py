from monai_ext.table import format_table

ROW = {"row": "a", "metric": "dice", "ci_low": None, "ci_high": None, "n": 2, "draws": 1, "seeds": 1}


def test_undefined_means_are_shown_as_such():
    assert "| a   | -    | -       | 2 | 1     | 1     |" in format_table([ROW | {"mean": None}])
    assert "paper" not in format_table([ROW | {"mean": 0.5}])


def test_a_difference_has_its_sign_and_the_row_itself_none():
    gap = {"mean": -0.01, "ci_low": -0.03, "ci_high": 0.01}
    rows = [ROW | {"mean": 0.5}, ROW | {"row": "b", "mean": 0.49, "difference": gap, "paper": 0.6}]
    lines = format_table(rows, against="a").splitlines()
    assert "difference to a" in lines[2]
    assert lines[4].split("|")[7].strip() == "-"
    assert [cell.strip() for cell in lines[5].split("|")[7:10]] == ["-0.0100", "-0.0300 to +0.0100", "0.6000"]


def test_a_choice_says_which_share_of_the_draws_it_beats():
    gain = {"mean": 0.03, "ci_low": 0.01, "ci_high": 0.05}
    rows = [ROW | {"mean": 0.5}, ROW | {"row": "a, by encoder", "mean": 0.53, "gain": gain, "beaten": 0.85}]
    text = format_table(rows)
    first, second = text.splitlines()[4:6]
    assert [cell.strip() for cell in first.split("|")[7:10]] == ["-", "-", "-"]
    assert [cell.strip() for cell in second.split("|")[7:10]] == ["+0.0300", "+0.0100 to +0.0500", "85%"]
    assert "draws beaten: share of the draws with a lower mean" in text
    assert "draws beaten" not in format_table(rows[:1])

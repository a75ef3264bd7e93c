"""Progress of what is no training."""

import io

from tqdm import tqdm

from monai_ext import progress_bar as module
from monai_ext.progress_bar import Lines, progress_bar


def go_through(capsys, monkeypatch, seconds, first=True, **options):
    """Five items, each of which takes so many seconds by tqdm's clock; what was shown."""
    now = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(module, "is_first", lambda: first)
    for _ in progress_bar(range(5), "Preparing", "case", **options):
        now[0] += seconds
    return capsys.readouterr().err


def test_a_log_gets_a_line_from_time_to_time_and_one_at_the_end(capsys, monkeypatch):
    lines = go_through(capsys, monkeypatch, 6.0).splitlines()
    shown = ["Preparing:   0%", "Preparing:  40%", "Preparing:  80%", "Preparing: 100%"]
    assert [line.split("|")[0] for line in lines] == shown
    assert lines[1].endswith("6.00s/case]")


def test_the_last_state_is_told_once(capsys, monkeypatch):
    """The last item may be due for a line itself."""
    lines = go_through(capsys, monkeypatch, 10.0).splitlines()
    assert [line.split("|")[0] for line in lines] == [f"Preparing: {share:3}%" for share in range(0, 101, 20)]


def test_what_is_quick_need_not_be_told(capsys, monkeypatch):
    assert go_through(capsys, monkeypatch, 0.1, delay=2) == ""
    assert "5/5" in go_through(capsys, monkeypatch, 0.1)


def test_only_the_first_process_tells(capsys, monkeypatch):
    assert go_through(capsys, monkeypatch, 6.0, first=False) == ""


def test_bars_above_each_other_are_lines_of_a_log():
    stream = io.StringIO()
    above = tqdm(total=2, desc="training", file=Lines(stream), mininterval=0)
    for _ in tqdm(range(2), desc="Preparing", file=Lines(stream), mininterval=0):
        pass
    above.update(2)
    above.close()
    lines = stream.getvalue().splitlines()
    assert {line.split(":")[0] for line in lines} == {"training", "Preparing"}
    assert not any("\x1b" in line or "\r" in line for line in lines)

"""Right and wrong words on the real command line: one line, exit code 2, the nearest name; or they are obeyed."""

import json

import pytest
from commands import ROOT
from words import RIGHT, WRONG


def cases(table):
    return [
        pytest.param(bundle, *row, id=f"{bundle}-{' '.join(row[1])}") for bundle, rows in table.items() for row in rows
    ]


def run(command, bundle, file, words, tmp_path, overlay=()):
    config = ROOT / "bundles" / bundle / "configs" / file
    files = [str(config), *map(str, overlay)]
    out = [] if any(word == "--output_dir" for word in words) else ["--output_dir", tmp_path / "out"]
    return command("-m", "monai.bundle", "run", words[0], "--config_file", repr(files), *words[1:], *out)


def test_there_are_enough():
    assert sum(map(len, WRONG.values())) >= 100
    assert sum(map(len, RIGHT.values())) >= 30
    assert WRONG.keys() == RIGHT.keys() == {path.name for path in (ROOT / "bundles").iterdir()}


@pytest.mark.row(28, 37)
@pytest.mark.slow
@pytest.mark.parametrize(("bundle", "file", "words", "hint"), cases(WRONG))
def test_wrong_words_end_in_one_line(command, bundle, file, words, hint, tmp_path):
    result = run(command, bundle, file, words, tmp_path)
    message = result.assert_error(2, hint)
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("bundle", "file", "words", "setting"), cases(RIGHT))
def test_right_words_are_obeyed(command, bundle, file, words, setting, tmp_path):
    """The run prints the setting instead of training."""
    name, value = setting
    (tmp_path / "show.json").write_text(json.dumps({"run": f"$print('IT IS', repr(@{name}))"}))
    result = run(command, bundle, file, ["run", *words], tmp_path, [tmp_path / "show.json"])
    assert result.returncode == 0, result.output[-2000:]
    shown = f"device(type='{value}')" if name == "device" else repr(value)
    assert f"IT IS {shown}" in result.stdout

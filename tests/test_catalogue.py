"""The catalogue of parts says what the code says, and notices when it no longer does."""

import importlib.util
import re
from pathlib import Path

import pytest

import monai_ext.datalist
import monai_ext.losses
import monai_ext.maskers
from monai_ext.data.phantoms import phantom_names

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"ci/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


catalogue = load("catalogue")


def names(room):
    return {part.name for part in catalogue.parts(room)}


def test_rooms_are_complete():
    assert names("maskers") == set(monai_ext.maskers.__all__)
    assert names("losses") == set(monai_ext.losses.__all__)
    assert names("datalist") == set(monai_ext.datalist.COMMANDS)
    assert names("data.phantoms") == set(phantom_names())


def test_a_line_says_what_it_is_and_whose():
    found = {part.name: part for part in catalogue.parts("maskers")}
    assert found["RandomMasker"] == ("RandomMasker", "Hide patches uniformly at random", "He et al. 2022")
    assert found["LesionAwareMasker"].papers == "prostate MAE"


@pytest.mark.parametrize(
    ("docstring", "sentence", "papers"),
    [
        ("One. Two.", "One", ""),
        ("Weights 1, 1/2, ... from the finest on.", "Weights 1, 1/2, ... from the finest on", ""),
        ("A | b (eq. 3), see :func:`~a.b.c`.", r"A \| b (eq. 3), see `c`", ""),
        ("Net (Huang et al., *A Net: B*, 2023).\n\nBy Lee & Kim 2020.", "Net", "Huang et al. 2023; Lee & Kim 2020"),
        ("Maps (adU-Net, section II). Wolleb et al. have T = 1000.", "Maps", "adU-Net"),
    ],
)
def test_sentences_and_papers(docstring, sentence, papers):
    assert catalogue.sentence(docstring) == sentence
    assert catalogue.papers(docstring) == papers


@pytest.fixture
def small(tmp_path, monkeypatch):
    room = tmp_path / "monai_ext/maskers"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text('from monai_ext.maskers.m import M\n\n__all__ = ["M"]\n')
    (room / "m.py").write_text('class M:\n    """Hide all."""\n')
    (tmp_path / "CONTRIBUTING.md").write_text(f"before\n{catalogue.BEGIN}\n{catalogue.END}\nafter\n")
    monkeypatch.setattr(catalogue, "ROOMS", {"maskers": "Maskers"})
    return tmp_path


def test_a_stale_catalogue_is_noticed_and_written_anew(small, capsys):
    assert catalogue.main(small, check=True) == 1
    assert "python ci/catalogue.py" in capsys.readouterr().out
    assert catalogue.main(small) == 0
    assert catalogue.main(small, check=True) == 0
    text = (small / "CONTRIBUTING.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `M` | Hide all |  |" in text
    (small / "monai_ext/maskers/m.py").write_text('class M:\n    """Hide none."""\n')
    assert catalogue.main(small, check=True) == 1


def test_a_part_without_a_docstring_is_an_error(small):
    (small / "monai_ext/maskers/m.py").write_text("class M:\n    pass\n")
    with pytest.raises(SystemExit, match=r"maskers.m.M has no docstring"):
        catalogue.parts("maskers", small)


def test_the_floors_of_the_document_are_those_of_the_lint():
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    floors = load("lint_imports").FLOORS
    assert [int(number) for number, _ in rows] == list(range(1, len(floors) + 1))
    assert [set(re.findall(r"`([\w.]+)`", rooms)) for _, rooms in rows[:-1]] == [set(floor) for floor in floors[:-1]]


def test_the_repository_is_up_to_date():
    assert catalogue.main(check=True) == 0

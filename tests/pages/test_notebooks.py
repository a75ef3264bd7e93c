"""The notebooks beside the bundles' pages run as they are, and show what they promise."""

import json
import os

import pytest
from page_blocks import ROOT

NOTEBOOKS = sorted(ROOT.glob("bundles/*/docs/*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_committed(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


def test_there_are_notebooks():
    assert {"few_labels", "pet_report"} <= {path.stem for path in NOTEBOOKS}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_to_its_pictures(path, tmp_path, monkeypatch):
    """Cell by cell in a kernel: a cell that raises ends it; a command that fails leaves the next one without a file."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name, value in {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    before = set((ROOT / "bundles").rglob("*"))
    notebook = nbformat.read(path, 4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    if kept := os.environ.get("EXECUTED_NOTEBOOKS"):  # a folder, to look at what it shows
        nbformat.write(notebook, f"{kept}/{path.name}")
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in data for data in shown) >= 2
    assert any("| --- |" in text or "|---" in text for data in shown if (text := data.get("text/markdown", "")))
    assert set((ROOT / "bundles").rglob("*")) == before  # all of it lies in a temporary folder

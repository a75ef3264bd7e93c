"""``ci/gpu`` in miniature on a CPU, and the tables that it writes from results of a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
from gpu_tables import BEGIN, rows_by_bundle, table, with_table, write

ROOT = Path(__file__).parents[1]


def ci_gpu(*arguments):
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / "ci" / "gpu"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    path = tmp_path_factory.mktemp("gpu") / "results.json"
    first = ci_gpu("--miniature", "--results", str(path))
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    return path, json.loads(path.read_text())


@pytest.mark.slow
def test_every_part_runs_and_is_kept(miniature):
    _, results = miniature
    assert list(results["parts"]) == list(gpu.PARTS)
    for name, part in results["parts"].items():
        assert part["done"], (name, part["problem"])
        assert part["rows"], name
        assert all(row["seconds"] > 0 for row in part["rows"] if "mean" not in row)
    assert results["parts"]["tests"]["rows"][0]["passed"] > 15
    full, boxed = (row["forwards"] for row in results["parts"]["inference"]["rows"])
    assert boxed < full
    assert 0 <= results["parts"]["loader"]["rows"][0]["waiting"] < 1
    rows = results["parts"]["evidence"]["rows"]
    assert [row["variant"] for row in rows] == ["amlp", "from_scratch"]
    assert all(0 <= row["mean"] <= 1 for row in rows)
    assert "mean" in rows[0]["difference"]


@pytest.mark.slow
def test_what_is_done_is_not_run_again_and_what_was_stopped_is(miniature):
    path, results = miniature
    results["parts"]["amlp"] |= {"done": False, "rows": []}
    path.write_text(json.dumps(results))
    again = ci_gpu("--miniature", "--results", str(path))
    assert again.returncode == 0
    assert again.stdout.count("done already") == len(gpu.PARTS) - 1
    assert len(json.loads(path.read_text())["parts"]["amlp"]["rows"]) == 2


@pytest.mark.slow
def test_figures_of_a_miniature_are_refused(miniature):
    path, _ = miniature
    done = ci_gpu("--write", str(path))
    assert done.returncode == 1
    assert "in miniature" in done.stderr


def test_a_part_that_takes_too_long_is_stopped_and_its_rows_are_kept(monkeypatch, tmp_path):
    script = tmp_path / "part.py"
    script.write_text("import time\nprint('{\"what\": 1}', flush=True)\ntime.sleep(60)")
    monkeypatch.setattr(gpu, "__file__", str(script))
    rows = []
    assert "stopped after" in gpu.run_part("mae", gpu.Run("cpu", False, 1), 0.05, rows.append)
    assert rows == [{"what": 1}]
    script.write_text("raise SystemExit(3)")
    assert gpu.run_part("mae", gpu.Run("cpu", False, 1), 1, rows.append) == "exit code 3"


def test_the_parts_fit_into_forty_minutes():
    assert sum(minutes or 0 for _, minutes in gpu.PARTS.values()) <= 40
    assert [name for name, (_, minutes) in gpu.PARTS.items() if minutes is None] == ["evidence"] == [*gpu.PARTS][-1:]


def test_a_variant_that_cannot_run_says_why():
    def broken():
        raise RuntimeError("no kernel\nfor this")

    assert gpu.measured(broken, gpu.Run("cpu", True, 1)) == {"error": "RuntimeError: no kernel", "failed": 1}


README = "# A\n\n## Performance\n\nNothing.\n\n## License\n\nText.\n"


def results_of_a_gpu():
    machine = {"device": "NVIDIA Test", "miniature": False, "torch": "2", "cuda": "12", "python": "3", "commit": "abc"}
    rows = [
        {"what": "step", "variant": "stock fp32", "seconds": 0.5, "gibibytes": 4.0},
        {"what": "step", "variant": "ours", "seconds": 0.125, "gibibytes": 2.0},
        {"what": "step", "variant": "large", "error": "out of memory"},
    ]
    steps = [{"what": "step of amlp train", "bundle": "amlp", "variant": "as configured", "seconds": 1.0}]
    means = [
        {"what": "dice", "bundle": "amlp", "variant": "amlp", "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 13,
         "draws": 10, "difference": {"mean": -0.01, "ci_low": -0.02, "ci_high": 0.0}},
        {"what": "dice", "bundle": "amlp", "variant": "from_scratch", "mean": 0.51, "n": 13, "draws": 10},
    ]  # fmt: skip
    parts = {
        "mae": {"done": True, "rows": rows},
        "steps": {"done": True, "rows": steps},
        "gan": {"done": False, "rows": rows},
        "evidence": {"done": True, "rows": means},
    }
    return {"machine": machine, "parts": parts}


def test_tables_go_into_the_readmes_and_are_replaced_there(tmp_path):
    for name in ("prostate_mae", "amlp", "adunet_anomaly"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "README.md").write_text(
            "# A\n\n## Performance\n\nNothing.\n\n## License\n\nText.\n"
        )
    assert write(tmp_path, results_of_a_gpu()) == ["amlp", "prostate_mae"]  # an unfinished part gives no figures
    readme = tmp_path / "prostate_mae" / "docs" / "README.md"
    first = readme.read_text()
    assert "| step | ours | 125.0 | 4.00 | 2.0 | |".replace(" | |", " |  |") in first
    assert "| step | large | out of memory |" in first
    means = (tmp_path / "amlp" / "docs" / "README.md").read_text()
    assert "| dice | amlp | 0.500 (0.400 to 0.600) | -0.010 (-0.020 to +0.000) | 13 | 10 |" in means
    assert "| dice | from_scratch | 0.510 |  | 13 | 10 |" in means
    assert first.index("Nothing.") < first.index(BEGIN) < first.index("## License")
    assert first.endswith("## License\n\nText.\n")
    write(tmp_path, None)
    assert readme.read_text() == first


def test_tables_of_the_readmes_are_those_of_the_saved_values():
    for path in ROOT.glob("bundles/*/docs/gpu.json"):
        readme = path.with_name("README.md").read_text(encoding="utf-8")
        assert with_table(readme, table(json.loads(path.read_text(encoding="utf-8")))) == readme
    for path in ROOT.glob("bundles/*/docs/README.md"):
        assert BEGIN not in path.read_text(encoding="utf-8") or path.with_name("gpu.json").is_file()


@pytest.mark.parametrize("change", [{"miniature": True}, {"cuda": None}, {"device": "CPU (x86)"}])
def test_other_figures_are_refused(change):
    results = results_of_a_gpu()
    results["machine"] |= change
    with pytest.raises(ValueError, match="no GPU's"):
        rows_by_bundle(results)


def test_without_a_gpu_full_sizes_are_refused():
    if gpu.torch.cuda.is_available():
        pytest.skip("there is one")
    done = ci_gpu()
    assert done.returncode == 1
    assert "--miniature" in done.stderr

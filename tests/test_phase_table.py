import json

import pytest

from monai_ext import phase_table as module
from monai_ext.errors import ConfigError
from monai_ext.phase_table import phase_table


@pytest.fixture
def bundle(tmp_path):
    configs = tmp_path / "toy/configs"
    (configs / "variants").mkdir(parents=True)
    (configs / "metadata.json").write_text("{}")
    config = {"output_dir": "x", "generators": "x", "seed": 0, "lr": 1, "mapping": "$1", "run": "@mapping"}
    (configs / "maps.json").write_text(json.dumps(config))
    (configs / "variants/small.json").write_text("{}")
    return tmp_path / "toy"


@pytest.fixture
def runs(monkeypatch):
    """Commands instead of runs; each writes a report whose value is its seed."""
    found = []

    def run(command):
        options = dict(part[2:].split("=", 1) for part in command if part.startswith("--"))
        found.append((command[4], options))
        place = module.Path(options["output_dir"])
        place.mkdir(parents=True)
        row = {"mean": float(options["seed"]), "ci_low": None, "ci_high": None, "n": 3, "groups": 3}
        (place / "report.json").write_text(json.dumps({"metrics": {"auroc": row}}))
        return module.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(module.subprocess, "run", run)
    return found


def test_rows_over_seeds(bundle, runs, tmp_path):
    options = {"bundle": str(bundle), "phase": "maps", "rows": "toy,small", "seeds": "1,3", "out": str(tmp_path / "o")}
    text = phase_table(**options, lr=2)
    assert [run_id for run_id, _ in runs] == ["mapping"] * 4
    assert runs[0][1]["generators"] == str(tmp_path / "o/toy/seed1/generators")
    assert runs[0][1]["lr"] == "2"
    assert len(eval(runs[2][1]["config_file"])) == 2
    entry = json.loads((tmp_path / "o/table.json").read_text())["table"][0]
    assert (entry["row"], entry["mean"], entry["values"]) == ("toy", 2.0, [1.0, 3.0])
    assert "2.0000" in text
    phase_table(**options, lr=2)
    assert len(runs) == 4  # what has a report is not run again


def test_errors(bundle, runs, tmp_path):
    with pytest.raises(ConfigError, match="no phase 'map'"):
        phase_table(str(bundle), "map", "toy")
    with pytest.raises(ConfigError, match="no row 'big'"):
        phase_table(str(bundle), "maps", "big", out=str(tmp_path / "o"))
    with pytest.raises(ConfigError, match="seed cannot be set"):
        phase_table(str(bundle), "maps", "toy", **{"seed": 1})
    with pytest.raises(ConfigError, match="whole numbers"):
        phase_table(str(bundle), "maps", "toy", seeds="one")


def test_a_failed_run_sets_the_exit_code(bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(module.subprocess, "run", lambda command: module.subprocess.CompletedProcess(command, 3))
    with pytest.raises(module.RunError, match="ended with code 3") as error:
        phase_table(str(bundle), "maps", "toy", out=str(tmp_path / "o"))
    assert error.value.exit_code == 3

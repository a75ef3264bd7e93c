import importlib.util
import json
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("lint_configs", Path(__file__).parents[1] / "ci/lint_configs.py")
lint = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lint)


def problems(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text if isinstance(text, str) else json.dumps({"bundle_root": ".", **text}))
    return lint.check_file(path)


@pytest.mark.row(29, 30)
@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ('{"lr": 1, "lr": 2}', "duplicate keys ['lr']"),
        ('{"a": {"lr": 1, "lr": 2}}', "duplicate keys ['lr']"),
        ("{", "Expecting"),
        ({"a": "$__import__('os').system('x')"}, "uses __import__"),
        ({"a": "$os.system('x')"}, "uses os"),
        ({"a": "$import subprocess"}, "imports subprocess"),
        ({"a": {"_target_": "os.system", "command": "x"}}, "os.system is outside"),
        ({"a": {"b": [{"_target_": "builtins.eval"}]}}, "builtins.eval is outside"),
        ({"a": "$().__class__.__bases__"}, "reaches for __class__"),
        ({"a": "$torch.load('x')"}, "calls .load"),
        ({"a": {"_target_": "torch.load", "f": "x", "weights_only": False}}, "calls .load"),
        ({"a": {"_target_": "monai.apps.download_and_extract", "url": "x"}}, "calls .download_and_extract"),
        ({"a": "$@nowhere + 1"}, "@nowhere is not defined"),
        ({"a": "@nowhere#b"}, "@nowhere#b is not defined"),
        ({"a": "$1 +"}, "not an expression"),
    ],
)
def test_finds(tmp_path, config, problem):
    found = problems(tmp_path, config)
    assert any(problem in line for line in found), found


def test_accepts_what_configs_need(tmp_path):
    config = {
        "imports": ["$import torch", "$import monai_ext"],
        "steps": "$int(0.05 * @epochs) * len(@train#loader)",
        "epochs": 3,
        "train": {
            "loader": "$[x for x in range(3)]",
            "name": {"_target_": "DataLoader", "collate_fn": "$lambda b: b[0]"},
        },
    }
    assert problems(tmp_path, config) == []


@pytest.mark.row(30)
def test_nothing_is_evaluated(tmp_path):
    marker = tmp_path / "ran"
    problems(tmp_path, {"a": f"$open('{marker}', 'w')", "b": {"_target_": "pathlib.Path.touch", "self": str(marker)}})
    assert not marker.exists()

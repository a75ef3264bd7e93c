"""A tiny bundle whose training writes a number, and whose evaluation reports it for every case."""

import json

import pytest

TRAIN = {
    "imports": ["$import monai_ext", "$import pathlib", "$import json"],
    "bundle_root": "$monai_ext.bundle.find_root('tiny')",
    "run_dir": "@bundle_root",
    "output_dir": "$@run_dir + '/output/train'",
    "model": "$@run_dir + '/model.pt'",
    "pretrained": "$@run_dir + '/pretrained.pt'",
    "phases": ["pretrain"],
    "pretrain": {},
    "device": "cpu",
    "val_fold": 2,
    "seed": 0,
    "dice": 0.5,
    "resume": False,
    "fail": False,
    "initialize": "$monai_ext.phases.start()",
    "training": [
        "$monai_ext.phases.run_earlier()",
        "$print('TRAINED', @dice, @seed, @pretrained, @resume)",
        "$pathlib.Path(@output_dir, 'last.pt').touch()",
        "$1 / (0 if @fail else 1)",
        "$pathlib.Path(@model).write_text(str(@dice + 0.1 * @seed))",
        "$pathlib.Path(@output_dir, 'report.json').write_text('{}')",
    ],
    "run": "@training",
}
PRETRAIN = {
    **{key: TRAIN[key] for key in ("imports", "bundle_root", "run_dir", "pretrained", "seed", "initialize")},
    "output_dir": "$@run_dir + '/output/pretrain'",
    "product": "@pretrained",
    "epochs": 1,
    "run": [
        "$print('PRETRAINED', @epochs, @seed, @pretrained)",
        "$pathlib.Path(@pretrained).parent.mkdir(parents=True, exist_ok=True)",
        "$pathlib.Path(@pretrained).touch()",
    ],
}
EVALUATE = {
    "imports": TRAIN["imports"],
    "bundle_root": TRAIN["bundle_root"],
    "run_dir": TRAIN["run_dir"],
    "output_dir": "$@run_dir + '/output/evaluate'",
    "model": TRAIN["model"],
    "section": "testing",
    "folds": None,
    "flips": 0,
    "value": "$float(pathlib.Path(@model).read_text())",
    "row": {"mean": "@value", "ci_low": "$@value - 0.01", "ci_high": "$@value + 0.01", "n": 7, "groups": 3},
    "initialize": "$monai_ext.phases.start()",
    "evaluating": [
        "$print('EVALUATED', @value, @section, @folds, @flips)",
        "$pathlib.Path(@output_dir, 'report.json').write_text(json.dumps({'metrics': {'dice_slices': @row}}))",
    ],
    "run": "@evaluating",
}


@pytest.fixture
def root(tmp_path):
    configs = tmp_path / "bundles/tiny/configs"
    (configs / "variants").mkdir(parents=True)
    for name, config in {
        "metadata": {},
        "train": TRAIN,
        "evaluate": EVALUATE,
        "pretrain": PRETRAIN,
        "demo": {"pretrain": {"epochs": 9}},
        "variants/better": {"_paper_": {"dice_*": 0.4213}, "dice": 0.7},
        "variants/scratch": {"pretrained": None, "dice": 0.2},
    }.items():
        (configs / f"{name}.json").write_text(json.dumps(config))
    return tmp_path

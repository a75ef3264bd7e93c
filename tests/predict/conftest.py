"""A bundle whose inference writes what it was told, in a second."""

import json

import pytest

CONFIG = {
    "imports": ["$import monai_ext", "$import os"],
    "bundle_root": "$monai_ext.bundle.find_root('tiny')",
    "dataset_dir": ".",
    "datalist": [],
    "output_dir": "$@bundle_root + '/out'",
    "device": "cpu",
    "mirror": [],
    "amp": True,
    "placed": "$monai_ext.transforms.grid.restored",
    "rank": "$int(os.environ.get('RANK', 7))",
    "model": "$@bundle_root + '/models/model.pt'",
    "ensemble": [],
    "preprocessing": {"_target_": "monai_ext.transforms.VolumePreprocessing", "spacing": None},
    "network": {"_target_": "torch.nn.Identity"},
    "postprocessing": "$lambda item: item",
    "dataset": {
        "_target_": "monai_ext.data.StudyDataset",
        "data": "@datalist",
        "transform": "@preprocessing",
        "output_dir": "@output_dir",
        "weights": "$@ensemble or [@model]",
    },
    "writer": {
        "_target_": "monai_ext.transforms.MaskOutput",
        "output_dir": "@output_dir",
        "restore": "$lambda item: {**item, 'pred': @placed(item['image'] * 0 + @rank, item, item['image'])}",
    },
    "evaluator": {
        "_target_": "monai_ext.engines.StudyEvaluator",
        "device": "$torch.device(@device)",
        "dataset": "@dataset",
        "network": "@network",
        "postprocessing": "@writer",
    },
    "initialize": "$monai_ext.phases.start()",
    "run": "$@evaluator.run()",
    "inference": "@run",
}
CONFIG["imports"].append("$import torch")


@pytest.fixture
def tiny(tmp_path):
    """The bundle, and five scans in ``scans/``."""
    import nibabel as nib
    import numpy as np

    root = tmp_path / "bundles/tiny"
    (root / "configs/variants").mkdir(parents=True)
    (root / "configs/inference.json").write_text(json.dumps(CONFIG))
    (root / "configs/metadata.json").write_text(json.dumps({"name": "tiny", "version": "1"}))
    (root / "configs/variants/flipped.json").write_text(json.dumps({"mirror": [0]}))
    for number in range(5):
        (tmp_path / "scans").mkdir(exist_ok=True)
        values = np.random.default_rng(number).normal(size=(9, 8, 7)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1])), tmp_path / f"scans/s{number}.nii.gz")
    return root

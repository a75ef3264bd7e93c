"""Federated training: the patients of each site, and two rounds in NVFlare's simulator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_ext.errors import DataError
from monai_ext.federated import split_by_site
from monai_ext.networks import read_checkpoint

ROOT = Path(__file__).parents[2]
SMALL = {
    "network_def": {
        "_target_": "monai_ext.networks.nets.MAESegmenter",
        "in_channels": 3,
        "num_classes": 2,
        "img_size": 88,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
    },
    "frozen_epochs": 0,
}


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_a_patient_is_at_one_site(sites):
    items = [{"id": f"{patient}_{study}", "patient": patient} for patient in "abcde" for study in range(2)]
    shares = split_by_site(items, sites)
    assert sorted(item["id"] for share in shares for item in share) == [item["id"] for item in items]
    patients = [{item["patient"] for item in share} for share in shares]
    assert sum(map(len, patients)) == 5
    assert max(map(len, patients)) - min(map(len, patients)) <= 1


def test_more_sites_than_patients_is_an_error():
    with pytest.raises(DataError, match="1 patients cannot be dealt to 2 sites"):
        split_by_site([{"id": "a"}], 2)


@pytest.mark.slow
def test_two_sites_train_one_model_in_two_rounds(tmp_path):
    pytest.importorskip("nvflare")
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    command = [sys.executable, "-W", "ignore", "-m", "monai_ext.federated", "--bundle", "prostate_mae", "--rounds", "2"]
    command += ["--overlays", str(tmp_path / "small.json"), "--out", str(tmp_path / "out")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, env=environment)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    out = tmp_path / "out"
    start, final = read_checkpoint(out / "initial.pt"), read_checkpoint(out / "model.pt")
    sent = [read_checkpoint(out / f"site-{number}/sent.pt") for number in (1, 2)]
    total = sum(site["steps"] for site in sent)
    assert all(site["steps"] > 0 for site in sent)
    for key, value in final.items():  # the average of the last round, by the steps made
        expected = sum(site["weights"][key].double() * (site["steps"] / total) for site in sent)
        assert torch.allclose(value.double(), expected, atol=1e-6), key
    for other in (start, sent[0]["weights"], sent[1]["weights"]):
        assert any(not torch.equal(final[key], other[key]) for key in final)
    patients = [
        {item["id"] for item in json.loads((out / f"site-{number}.json").read_text())["training"] if item["fold"] != 0}
        for number in (1, 2)
    ]
    assert patients[0]
    assert patients[1]
    assert not patients[0] & patients[1]

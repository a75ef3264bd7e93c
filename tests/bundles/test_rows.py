"""Every row of the tables trains and is evaluated: one epoch at the demo's sizes, through the table's own command."""

import json

import pytest
from running import ROOT

from monai_ext.table import table

# One epoch of what demo.json makes small, and the rows that need other data than the phantom or larger sizes than the
# demo's. Those of adU-Net stand on maps that each of them would have to make first; its demo goes that way.
SHORT = {
    "prostate_mae": {"max_epochs": 1, "frozen_epochs": 0, "pretrain#max_epochs": 1},
    "amlp": {"max_epochs": 1, "pretrain#max_epochs": 1},
    "anatomask": {"max_epochs": 1, "num_crops": 2, "pretrain#max_epochs": 1},
    "autopet_bixlstm": {"max_epochs": 1, "iterations": 2, "val_interval": 1, "pretrain#max_epochs": 1},
}
SOME = {"prostate_mae": 1, "amlp": 2, "anatomask": 2, "autopet_bixlstm": 2}  # labelled patients
ELSEWHERE = {
    "lgg",
    "hecktor_ct",
    "hecktor_pet",
    "hecktor_petct",
    "amos22",
    "autopet",
    "flare22",
    "totalsegmentator",
    "large",
    "huge",
    "sts_petct",
    "swin_unetr",
}
LARGE = {("anatomask", "resenc_l"), ("anatomask", "resenc_l_from_scratch")}  # test_resenc_l.py trains it, small
ROWS = [
    (bundle, file.stem)
    for bundle in SHORT
    for file in sorted((ROOT / "bundles" / bundle / "configs/variants").glob("*.json"))
    if file.stem not in ELSEWHERE and (bundle, file.stem) not in LARGE and not file.stem.startswith("published_")
]


@pytest.mark.slow
@pytest.mark.parametrize(("bundle", "row"), ROWS)
def test_row_trains_and_is_evaluated(bundle, row, tmp_path):
    root = str(ROOT / "bundles" / bundle)
    more = {"cache_dir": tmp_path / "cache"}
    if row.startswith("self_trained"):
        more["num_labelled"] = SOME[bundle]  # the others have no label
    table(root, row, config="demo", section="validation", out=str(tmp_path / "out"), **{**SHORT[bundle], **more})
    entries = json.loads((tmp_path / "out/table.json").read_text())["table"]
    assert {entry["row"] for entry in entries} == {row}
    assert any(entry["mean"] is not None for entry in entries)

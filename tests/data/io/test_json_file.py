import json
import math

import torch

from monai_ext.data.io.json_file import write_json


def test_json_is_valid_and_whole(tmp_path):
    write_json({"a": math.nan, "b": [math.inf, (1, None)], "c": torch.device("cpu")}, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, [1, None]], "c": "cpu"}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]

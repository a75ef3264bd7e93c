from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor

from monai_ext.handlers import ClickCurves
from monai_ext.metrics import ClickScores


def test_curves_of_each_case_and_their_mean(tmp_path, monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    scores = ClickScores(max_clicks=2)
    for seed in range(3):
        masks = torch.from_numpy((np.random.default_rng(seed).random((3, 8, 8, 8)) < 0.1).astype(np.uint8))
        label = MetaTensor((masks[2:] > 0).float(), affine=torch.eye(4))
        scores.metric(y_pred=[masks], y=[label])
    for rank in (1, 0):
        ClickCurves(str(tmp_path / f"{rank}.png"), scores)(SimpleNamespace(state=SimpleNamespace(rank=rank)))
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
    dice, fnv, fpv = saved[0].axes
    assert [axis.get_ylabel() for axis in (dice, fnv, fpv)] == [
        "Dice",
        "false negative volume, ml",
        "false positive volume, ml",
    ]
    *cases, mean = dice.lines
    assert len(cases) == 3
    np.testing.assert_allclose(mean.get_ydata(), np.mean([line.get_ydata() for line in cases], axis=0))
    assert mean.get_ydata()[2] == 1
    assert "3 cases, 3 with lesion" in saved[0].get_suptitle()

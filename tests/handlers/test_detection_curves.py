import numpy as np
import pytest
import torch
from matplotlib.image import imread

from monai_ext.handlers import DetectionCurves
from monai_ext.metrics import DetectionScore

pytest.importorskip("picai_eval")


def cases(healthy):
    """Four patients with a lesion that is found, and as many without one where ``healthy``."""
    rng = np.random.default_rng(0)
    for number in range(8):
        label = torch.zeros(1, 20, 20, 8)
        probability = torch.from_numpy(0.2 * rng.random((1, 20, 20, 8)).astype(np.float32))
        if number % 2:
            label[0, 4:9, 5:10, 2:5] = 1
            probability[0, 4:9, 5:10, 2:5] = 0.5 + 0.05 * number
        if number % 2 or healthy:
            yield {"pred": probability, "label": label, "id": f"c{number}", "patient": f"p{number}"}


@pytest.mark.parametrize("kind", ["both", "healthy alone", "none"])
def test_curves_are_drawn_whatever_is_defined(tmp_path, kind, capsys):
    score = DetectionScore()
    score.update([case for case in cases(True) if kind == "both" or not case["label"].any()] if kind != "none" else [])
    score.compute()
    DetectionCurves(str(tmp_path / "curves.png"), score)(None)
    assert (tmp_path / "curves.png").is_file() == (kind != "none")
    if kind != "none":
        picture = imread(tmp_path / "curves.png")
        assert picture[..., :3].std() > 0.02
    assert ("AUROC and AP are not defined" in capsys.readouterr().out) == (kind == "healthy alone")

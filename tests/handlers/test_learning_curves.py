import re
from xml.etree import ElementTree

import pytest
from torch.utils.tensorboard import SummaryWriter

from monai_ext.handlers.learning_curves import draw_learning, read_scalars, telling

SVG = "{http://www.w3.org/2000/svg}"
LOSS = [(0, 2.0), (5, 1.0), (10, 0.0)]


def points(svg, tag):
    (group,) = (g for g in ElementTree.fromstring(svg).iter(f"{SVG}g") if g.get("id") == f"curve {tag}")
    path = group.find(f"{SVG}path").get("d")
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)]


def test_curve_goes_through_its_points_on_named_axes():
    svg = draw_learning({"train_loss": LOSS, "hausdorff95_mm": [(1, 9.0), (2, 4.0)]})
    (x0, y0), (x1, y1), (x2, y2) = points(svg, "train_loss")
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert y0 < y2  # larger values are higher up
    words = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    for word in ("train loss", "step", "Hausdorff distance (95 %), mm", "epoch", "2.0", "9"):
        assert word in words


def test_curves_of_a_resumed_run_are_joined(tmp_path):
    for steps in ((1, 2, 3), (3, 4)):  # killed in step 3, resumed
        writer = SummaryWriter(tmp_path)
        for step in steps:
            writer.add_scalar("loss", 10.0 * len(steps) + step, step)
        writer.close()
    assert read_scalars(tmp_path) == {"loss": [(1, 31.0), (2, 32.0), (3, 23.0), (4, 24.0)]}
    assert read_scalars(tmp_path / "none") == {}


def test_constant_and_repeated_curves_tell_nothing():
    flat, again = [(0, 3.0), (9, 3.0)], [(step, value + 1e-9) for step, value in LOSS]
    other = [(0, 2.0), (5, 1.0), (10, 0.1)]
    assert list(telling({"a": LOSS, "n": flat, "b": again, "c": other, "d": LOSS[:2]})) == ["a", "c", "d"]

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.colors import rgb_to_hsv
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from monai_ext.handlers import OrganPreview
from monai_ext.handlers.organ_preview import colours, planes

ORGANS = [f"organ {i}" for i in range(1, 6)]


def case():
    label = torch.zeros(1, 1, 20, 18, 16, dtype=torch.uint8)
    label[..., 4:16, 6, 3:9] = 2  # fills most of the coronal plane 6
    label[..., 2:10, 3:15, 12] = 5  # fills most of the axial plane 12
    return label


def test_planes_with_the_most_organ():
    label = case()[0, 0].numpy()
    assert planes(label, None) == (12, 6)
    assert planes(np.zeros_like(label), label) == (12, 6)
    assert planes(label, np.zeros_like(label)) == (12, 6)
    assert planes(np.zeros_like(label), None) == (8, 9)


def test_no_two_of_many_organs_have_the_same_colour_and_neighbours_differ_in_hue():
    rgba = colours(104)
    assert rgba[0, 3] == 0
    assert len({tuple(c) for c in rgba.round(4)}) == 105
    hue = rgb_to_hsv(rgba[1:, :3])[:, 0]
    gap = np.abs(np.diff(hue))
    assert np.minimum(gap, 1 - gap).min() > 0.25


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("truth", [False, True])
def test_one_picture_per_case(tmp_path, scores, truth):
    label = case()
    pred = torch.nn.functional.one_hot(label[:, 0].long(), 6).movedim(-1, 1).float() if scores else label
    image = MetaTensor(torch.randn(1, 1, 20, 18, 16), affine=torch.diag(torch.tensor([1.5, 1.5, 3.0, 1.0])))
    engine = Engine(lambda engine, batch: None)
    engine.register_events(*IterationEvents)
    preview = OrganPreview(str(tmp_path), ORGANS, max_cases=2)
    preview.attach(engine)
    for name in ("a", "b", "c"):
        engine.state.output = {"image": image, "pred": pred}
        engine.state.batch = {"id": [name]} | ({"label": label} if truth else {})
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png"}
    assert all(p.stat().st_size > 20_000 for p in tmp_path.iterdir())

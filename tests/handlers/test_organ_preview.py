import contextlib

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from matplotlib.colors import rgb_to_hsv
from matplotlib.figure import Figure
from monai.data import MetaTensor

from monai_ext.handlers import OrganPreview
from monai_ext.handlers.case_preview import ShownCase
from monai_ext.handlers.organ_preview import colours, planes
from monai_ext.handlers.scan_view import ScanView

ORGANS = [f"organ {i}" for i in range(1, 6)]


def case():
    label = torch.zeros(1, 1, 20, 18, 16, dtype=torch.uint8)
    label[..., 4:16, 6, 3:9] = 2  # fills most of the coronal plane 6
    label[..., 2:10, 3:15, 12] = 5  # fills most of the axial plane 12
    return label


def test_planes_with_the_most_organ():
    label = case()[0, 0].numpy()
    assert planes(label, None)[1:] == (6, 12)
    assert planes(np.zeros_like(label), label)[1:] == (6, 12)
    assert planes(label, np.zeros_like(label))[1:] == (6, 12)
    assert planes(np.zeros_like(label), None) == (10, 9, 8)


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
    label = case()[0]
    pred = torch.nn.functional.one_hot(label[0].long(), 6).movedim(-1, 0).float() if scores else label
    image = MetaTensor(torch.randn(1, 20, 18, 16), affine=torch.diag(torch.tensor([1.5, 1.5, 3.0, 1.0])))
    engine = Engine(lambda engine, batch: None)
    preview = OrganPreview(str(tmp_path), ORGANS, max_cases=2)
    preview.attach(engine)
    for name in ("a", "b", "c"):
        engine.state.output = [{"pred": pred}]
        engine.state.batch = [{"id": name, "image": image} | ({"label": label} if truth else {})]
        engine.fire_event(Events.ITERATION_COMPLETED)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png"}
    assert all(p.stat().st_size > 20_000 for p in tmp_path.iterdir())


def test_planes_have_the_numbers_of_the_file_and_the_patients_right_on_the_left(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: saved.append(self))
    monkeypatch.setattr("monai_ext.handlers.organ_preview.whole_file", contextlib.nullcontext)
    label = case()[0, 0].numpy().astype(int)
    view = ScanView(np.diag([-1.0, 1.0, -2.0, 1.0]), label.shape)
    shown = ShownCase("case", view, np.zeros((1, *label.shape)), label, None, None, (slice(None),) * 3)
    OrganPreview(str(tmp_path), ORGANS).draw(shown, tmp_path / "a.png")
    axes = saved[0].axes
    assert [axes[row].get_ylabel() for row in (0, 2, 4)] == [
        "axial\nslice 4 of 16",
        "coronal\nslice 7 of 18",
        f"sagittal\nslice {20 - planes(label, None)[0]} of 20",
    ]
    assert axes[0].get_title() == "image"
    organ = np.asarray(axes[1].images[1].get_array())[..., 3] > 0
    np.testing.assert_array_equal(organ, label[:, :, 12].T[::-1, ::-1] > 0)
    assert axes[4].get_aspect() == 2

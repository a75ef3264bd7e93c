from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor

from monai_ext.handlers import ProjectionPreview

SHAPE, SPACING = (12, 10, 20), (4.0, 4.0, 3.0)


@pytest.fixture
def figures(monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    return saved


def engine(label=True, cases=1):
    torch.manual_seed(0)
    image = torch.randn(cases, 2, *SHAPE) * 0.1 - 0.7
    image[:, 1, 2, 7, 17] = 1.0  # to the left, in front, near the head
    pred = torch.zeros(cases, 2, *SHAPE)
    pred[:, 1, 1:4, 6:9, 16:19] = torch.tensor([-1.0, 1, -1])[:, None, None]  # a plane of 9 voxels is lesion
    truth = torch.zeros(cases, 1, *SHAPE, dtype=torch.uint8)
    truth[:, 0, 2:4, 6:9, 16:19] = 1
    affine = torch.diag(torch.tensor([*SPACING, 1.0]))
    batch = {"id": [f"c{i}" for i in range(cases)]} | ({"label": truth} if label else {})
    output = {"image": MetaTensor(image, affine=affine), "pred": pred}
    return SimpleNamespace(state=SimpleNamespace(output=output, batch=batch, rank=0)), image


def test_both_projections_lie_as_readers_expect(tmp_path, figures):
    found, image = engine()
    ProjectionPreview(str(tmp_path / "new"))(found)
    coronal, sagittal = figures[0].axes[:2]
    suv = image[0, 1].numpy() * 8.01 + 7.09
    for axis, along in ((coronal, 1), (sagittal, 0)):
        np.testing.assert_allclose(np.asarray(axis.images[0].get_array()), suv.max(along).T[::-1, ::-1], rtol=1e-5)
        assert np.asarray(axis.images[0].get_array()).argmax() // SHAPE[1 - along] < 5  # the head is on top
        assert axis.get_aspect() == pytest.approx(0.75)
        assert len(axis.collections) == 2  # truth and prediction
    # the patient's left is on the right of the coronal view, the front is on the left of the sagittal one
    assert np.asarray(coronal.images[0].get_array()).argmax() % 12 > 6
    assert np.asarray(sagittal.images[0].get_array()).argmax() % 10 < 5
    outline = coronal.collections[1].get_paths()[0].vertices
    np.testing.assert_allclose([outline.min(0), outline.max(0)], [[8.5, 0.5], [9.5, 3.5]])
    assert "9 ml" not in figures[0].get_suptitle()
    assert f"{9 * 0.048:.1f} ml" in figures[0].get_suptitle()
    assert matplotlib.image.imread(tmp_path / "new/c0.png").std() > 0.1


def test_without_label_and_without_window(tmp_path, figures):
    found, image = engine(label=False, cases=3)
    handler = ProjectionPreview(str(tmp_path), window=None, mean=0, std=1, max_cases=2)
    handler(found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c0.png", "c1.png"]
    assert len(figures[0].axes[0].collections) == 1
    assert "truth" not in figures[0].get_suptitle()
    assert figures[0].axes[0].images[0].get_clim()[0] == pytest.approx(float(image[0, 1].min()))


def test_other_ranks_draw_nothing(tmp_path):
    found, _ = engine()
    found.state.rank = 1
    ProjectionPreview(str(tmp_path))(found)
    assert list(tmp_path.iterdir()) == []

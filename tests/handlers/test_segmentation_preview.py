import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from monai_ext.handlers import SegmentationPreview
from monai_ext.handlers.segmentation_preview import chosen_slices, draw_segmentation


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    return saved


def places(axis):
    """Where the brightest pixel of an axis is drawn: (from the left, from the bottom), 0 to 1."""
    shown = np.asarray(axis.images[0].get_array(), float)
    row, column = np.unravel_index(np.nanargmax(shown), shown.shape)
    return axis.transAxes.inverted().transform(axis.transData.transform((column, row)))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("anterior", [True, False])
def test_patients_right_is_on_the_left_and_anterior_on_top(tmp_path, figures, right, anterior):
    mark = (14 if right else 1, 14 if anterior else 1)  # RAS: indices grow towards right and anterior
    image, probability = np.zeros((1, 16, 16, 2)), np.zeros((16, 16, 2))
    image[(0, *mark, 1)], probability[(*mark, 1)] = 100, 0.4
    draw_segmentation(image, probability, None, ["T2W"], tmp_path / "a.png", num_slices=1)
    for axis in figures[0].axes[:2]:
        left, bottom = places(axis)
        assert (left < 0.5) == right
        assert (bottom > 0.5) == anterior
    assert figures[0].axes[0].get_ylabel() == "slice 2 of 2"
    assert "no lesion predicted" in figures[0].get_suptitle()


def test_outlines_lie_on_truth_and_prediction(tmp_path, figures):
    truth, probability = np.zeros((16, 16, 1), bool), np.zeros((16, 16, 1))
    truth[10:14, 9:13], probability[2:5, 3:6] = True, 0.9
    draw_segmentation(np.zeros((1, 16, 16, 1)), probability, truth, ["T2W"], tmp_path / "a.png")
    drawn = [c.get_paths()[0].vertices for c in figures[0].axes[0].collections]
    # column = 15 - x, row = 15 - y
    np.testing.assert_allclose([drawn[0].min(0), drawn[0].max(0)], [[1.5, 2.5], [5.5, 6.5]])
    np.testing.assert_allclose([drawn[1].min(0), drawn[1].max(0)], [[10.5, 9.5], [13.5, 12.5]])


def test_slices_with_most_truth_and_most_prediction_are_shown():
    truth, probability = np.zeros((4, 4, 6), bool), np.zeros((4, 4, 6))
    truth[:2, 0, 4], probability[0, 0, 1], probability[0, 0, 2] = True, 0.6, 0.4
    assert chosen_slices(probability, truth, 2) == [1, 4]


def test_a_channel_with_a_scale_of_its_own_looks_the_same_in_every_case(tmp_path, figures):
    for top in (1.0, 4.0):
        image = np.stack([np.full((8, 8, 2), top), top * np.random.default_rng(0).random((8, 8, 2))])
        scales = {"adc map": (0.0, 2.0)}
        draw_segmentation(image, np.zeros((8, 8, 2)), None, ["T2W", "adc map"], tmp_path / "a.png", scales=scales)
    limits = [[axis.images[0].get_clim() for axis in figure.axes[:2]] for figure in figures]
    assert limits[0][1] == limits[1][1] == (0.0, 2.0)
    assert limits[0][0] != limits[1][0]


def evaluator(rank):
    """Forward pass of one case whose voxels are 1 x 2 x 3 mm."""
    engine = Engine(lambda engine, batch: None)
    engine.register_events(*IterationEvents)
    image = MetaTensor(torch.rand(1, 2, 8, 8, 3), affine=torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0])))
    engine.state.rank = rank

    def forward(engine):
        engine.state.output = {"image": image, "pred": torch.randn(1, 2, 8, 8, 3)}
        engine.state.batch = {"id": ["case"], "label": torch.ones(1, 1, 8, 8, 3)}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)

    return engine, forward


def test_picture_of_each_case_with_pixels_in_proportion(tmp_path, figures):
    engine, forward = evaluator(rank=0)
    SegmentationPreview(str(tmp_path / "new"), ["T2W", "ADC"], max_cases=1).attach(engine)
    forward(engine)
    forward(engine)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["case.png"]
    assert matplotlib.image.imread(tmp_path / "new/case.png").std() > 0.1
    assert len(figures) == 1
    assert figures[0].axes[0].get_aspect() == 2


def test_other_ranks_write_nothing(tmp_path):
    engine, forward = evaluator(rank=1)
    SegmentationPreview(str(tmp_path), ["T2W", "ADC"]).attach(engine)
    forward(engine)
    assert list(tmp_path.iterdir()) == []

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from monai.data import MetaTensor

from monai_ext.handlers import SegmentationPreview
from monai_ext.handlers.case_preview import ShownCase
from monai_ext.handlers.scan_view import ScanView


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    return saved


def shown(image, pred=None, truth=None, probability=None, affine=None):
    """A case on the grid of an image ``[C, X, Y, Z]``."""
    view = ScanView(np.eye(4) if affine is None else affine, image.shape[1:])
    pred = np.zeros(image.shape[1:], int) if pred is None else pred
    return ShownCase("case", view, image, pred, probability, truth, (slice(None),) * 3)


def draw(folder, case, channels=("T2W",), **options):
    SegmentationPreview(str(folder), channels, **options).draw(case, folder / "a.png")


def places(axis):
    """Where the brightest pixel of an axis is drawn: (from the left, from the bottom), 0 to 1."""
    pixels = np.asarray(axis.images[0].get_array(), float)
    row, column = np.unravel_index(np.nanargmax(pixels), pixels.shape)
    return axis.transAxes.inverted().transform(axis.transData.transform((column, row)))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("anterior", [True, False])
def test_patients_right_is_on_the_left_and_anterior_on_top(tmp_path, figures, right, anterior):
    mark = (14 if right else 1, 14 if anterior else 1)  # RAS: indices grow towards right and anterior
    image, probability = np.zeros((1, 16, 16, 2)), np.zeros((16, 16, 2))
    image[(0, *mark, 1)], probability[(*mark, 1)] = 100, 0.4
    draw(tmp_path, shown(image, probability=probability), num_slices=1)
    for axis in figures[0].axes[:2]:
        left, bottom = places(axis)
        assert (left < 0.5) == right
        assert (bottom > 0.5) == anterior
    assert figures[0].axes[0].get_ylabel() == "slice 2 of 2"
    assert "no lesion predicted" in figures[0].get_suptitle()


def test_outlines_lie_on_truth_and_prediction_and_the_volumes_are_theirs(tmp_path, figures):
    truth, pred = np.zeros((16, 16, 3), bool), np.zeros((16, 16, 3), int)
    truth[10:14, 9:13, 1], pred[2:5, 3:6, 1] = True, 1
    draw(tmp_path, shown(np.zeros((1, 16, 16, 3)), pred, truth, affine=np.diag([5.0, 5, 40, 1])), num_slices=1)
    axis = figures[0].axes[0]
    drawn = [c.get_paths()[0].vertices for c in axis.collections]
    # column = 15 - x, row = 15 - y
    np.testing.assert_allclose([drawn[0].min(0), drawn[0].max(0)], [[1.5, 2.5], [5.5, 6.5]])
    np.testing.assert_allclose([drawn[1].min(0), drawn[1].max(0)], [[10.5, 9.5], [13.5, 12.5]])
    assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 15.5), (15.5, -0.5))
    assert "truth, 16.0 ml" in figures[0].get_suptitle()
    assert "predicted, 9.0 ml" in figures[0].get_suptitle()


def test_slices_with_truth_with_prediction_and_of_their_difference_by_the_files_numbers(tmp_path, figures):
    truth, pred = np.zeros((8, 8, 30), bool), np.zeros((8, 8, 30), int)
    truth[2:6, 2:6, 10:16], pred[2:6, 2:6, 12:16] = True, 1
    truth[:, :, 12] = pred[:, :, 12] = True
    pred[1:6, 1:6, 25] = 1
    draw(tmp_path, shown(np.zeros((1, 8, 8, 30)), pred, truth, affine=np.diag([1.0, 1, -1, 1])))
    labels = [axis.get_ylabel() for axis in figures[0].axes]
    assert labels[0] == "slice 18 of 30"  # the 13th from the feet, in a file that begins at the head
    assert "slice 5 of 30" in labels
    assert len(set(labels)) == 3


def test_a_channel_with_a_scale_of_its_own_looks_the_same_in_every_case(tmp_path, figures):
    for top in (1.0, 4.0):
        image = np.stack([np.full((8, 8, 2), top), top * np.random.default_rng(0).random((8, 8, 2))])
        draw(tmp_path, shown(image), ["T2W", "adc map"], scales={"adc map": (0.0, 2.0)})
    limits = [[axis.images[0].get_clim() for axis in figure.axes[:2]] for figure in figures]
    assert limits[0][1] == limits[1][1] == (0.0, 2.0)
    assert limits[0][0] != limits[1][0]


def test_picture_of_each_case_with_pixels_in_proportion(tmp_path, figures):
    engine = Engine(lambda engine, batch: None)
    image = MetaTensor(torch.rand(2, 8, 8, 3), affine=torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0])))
    engine.state.rank = 0
    SegmentationPreview(str(tmp_path / "new"), ["T2W", "ADC"], max_cases=1).attach(engine)
    for name in ("case", "another"):
        engine.state.output = [{"pred": torch.randn(2, 8, 8, 3)}]
        engine.state.batch = [{"id": name, "image": image, "label": torch.ones(1, 8, 8, 3)}]
        engine.fire_event(Events.ITERATION_COMPLETED)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["case.png"]
    assert matplotlib.image.imread(tmp_path / "new/case.png").std() > 0.1
    assert len(figures) == 1
    assert figures[0].axes[0].get_aspect() == 2

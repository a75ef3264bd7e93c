"""The picture of a choice."""

import matplotlib.image
import numpy as np
import pytest

from monai_ext.select.picture import draw_choice, principal_plane


def test_the_plane_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA

    points = np.random.default_rng(0).normal(size=(40, 7)) * [5, 4, 1, 1, 1, 1, 1]
    some = np.arange(40) != 3
    places, share = principal_plane(points, some)
    model = PCA(2).fit(points[some])
    assert np.allclose(np.abs(places), np.abs(model.transform(points)), atol=1e-8)
    assert share == pytest.approx(model.explained_variance_ratio_.sum())
    assert (places[np.abs(places).argmax(0), [0, 1]] > 0).all()


def test_sets_without_a_second_or_any_direction():
    assert principal_plane(np.ones((3, 4)), np.ones(3, bool))[0].tolist() == [[0, 0]] * 3
    places, share = principal_plane(np.array([[1.0], [3.0]]), np.ones(2, bool))
    assert (places[:, 1].tolist(), share) == ([0, 0], 1)


@pytest.mark.parametrize(("number", "chosen", "far"), [(1, 1, 0), (12, 3, 2), (40, 14, 1)])
def test_one_colour_for_each_kind(tmp_path, number, chosen, far):
    points = np.random.default_rng(0).normal(size=(number, 5))
    points[number - far :] += 30
    slices = {
        n: {"slice": np.random.default_rng(n).random((30, 24)), "pixel": np.array([1.0, 2])} for n in range(number)
    }
    names = [f"p{n}" for n in range(number)]
    labelled = [chosen] if number > 1 else []
    outliers = list(range(number - far, number))
    draw_choice(tmp_path / "a.png", points, list(range(chosen)), labelled, outliers, names, slices, "title")
    image = (255 * matplotlib.image.imread(tmp_path / "a.png")[..., :3]).round().astype(int)

    def pixels(*color):
        return int((image == color).all(-1).sum())

    assert pixels(255, 159, 28) > 500  # chosen
    assert (pixels(42, 111, 219) > 20) == bool(labelled)
    assert (pixels(215, 38, 61) > 20) == bool(far)

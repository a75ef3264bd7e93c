"""A choice, its reasons and its rows."""

import numpy as np
import pytest

from monai_ext.errors import ConfigError
from monai_ext.select.choice import make_choice

NAMES = [f"p{n:02d}" for n in range(30)]


@pytest.fixture
def features():
    """Clusters of 15, 9 and 5, and one point far away."""
    rng = np.random.default_rng(0)
    points = np.repeat([[0.0, 0], [9, 0], [0, 9], [80, 80]], [15, 9, 5, 1], axis=0)
    return points + 0.5 * rng.normal(size=points.shape)


def cluster(patient):
    return int(np.searchsorted([15, 24, 29], NAMES.index(patient), side="right"))


def test_one_of_each_cluster_and_the_outlier_apart(features):
    choice = make_choice(NAMES, features, 3, broken={"x": "torn"})
    assert [cluster(patient) for patient in choice.chosen] == [0, 1, 2]
    assert choice.outliers == ["p29"]
    assert [choice.served[patient] for patient in choice.chosen] == [15, 9, 5]
    text = str(choice)
    assert f"1  {choice.chosen[0]}  the most typical; stands for 15 of 30 patients" in text
    assert "outliers, far from all others: p29" in text
    assert "cannot be used: x: torn" in text


def test_outliers_are_chosen_where_they_are_asked_for(features):
    choice = make_choice(NAMES, features, 4, outliers=True)
    assert "p29" in choice.chosen
    assert "outliers, far" not in str(choice)
    with pytest.raises(ConfigError, match=r"--num is 30.*29 patients to choose from.*1 are outliers"):
        make_choice(NAMES, features, 30)


def test_labelled_patients_count_as_chosen(features):
    choice = make_choice(NAMES, features, 2, labelled=["p03"])
    assert [cluster(patient) for patient in choice.chosen] == [1, 2]
    assert choice.served["p03"] == 15
    assert "the most typical" not in str(choice)
    with pytest.raises(ConfigError, match="0 patients to choose from: 30 of 30 patients have labels"):
        make_choice(NAMES, features, 1, labelled=NAMES)


def test_a_segmenter_that_is_unsure_of_some_draws_the_choice_there(features):
    unsure = np.where([cluster(patient) == 2 for patient in NAMES], 5.0, 0.1)
    assert cluster(make_choice(NAMES, features, 1).chosen[0]) == 0
    choice = make_choice(NAMES, features, 1, uncertainty=unsure)
    assert cluster(choice.chosen[0]) == 2
    assert float(choice.rows()[0]["uncertainty"]) == 5


def test_every_patient_has_a_row(features):
    choice = make_choice(NAMES, features, 3, labelled=["p03"], broken={"x": "torn"})
    rows = choice.rows()
    assert sorted(row["patient"] for row in rows) == sorted([*NAMES, "x"])
    assert [row["rank"] for row in rows[:4]] == [1, 2, 3, ""]
    assert [row["state"] for row in rows[2:5]] == ["chosen", "labelled", "unlabelled"]
    others = [row for row in rows if row["state"] == "unlabelled"]
    away = [float(row["distance"]) for row in others if not row["outlier"]]
    assert away == sorted(away, reverse=True)
    assert (others[-1]["patient"], others[-1]["outlier"]) == ("p29", "yes")
    index = {name: n for n, name in enumerate(NAMES)}
    for row in others:
        gaps = [np.linalg.norm(features[index[row["patient"]]] - features[index[p]]) for p in [*choice.chosen, "p03"]]
        assert float(row["distance"]) == pytest.approx(min(gaps), abs=1e-3)
        assert row["nearest"] == [*choice.chosen, "p03"][int(np.argmin(gaps))]
    assert rows[-1] == {"patient": "x", "state": "broken", "reason": "torn"}

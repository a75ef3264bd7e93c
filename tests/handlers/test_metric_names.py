import pytest

from monai_ext.handlers.metric_names import higher_is_worse, metric_label


@pytest.mark.parametrize(
    ("name", "label", "error"),
    [
        ("hausdorff95_mm", "Hausdorff distance (95 %), mm", True),
        ("train_loss", "train loss", True),
        ("nsd_posterior hippocampus", "normalized surface Dice posterior hippocampus", False),
        ("n_lesion_slices", "number of lesion slices", False),
        ("ml", "ml", True),
    ],
)
def test_words_units_and_direction(name, label, error):
    assert metric_label(name) == label
    assert higher_is_worse(name) == error

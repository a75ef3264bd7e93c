import numpy as np
import pytest

from monai_ext.plan.case_facts import CaseFacts
from monai_ext.plan.dataset_facts import DatasetFacts


def facts_of(
    spacing=(1.0, 1.0, 1.0),
    shape=(100, 100, 100),
    number=20,
    modalities=("image",),
    classes=(1,),
    lesion_ml=(5.0,),
    extent=(40.0, 40.0, 40.0),
    inside=None,
    labelled=None,
    slices=0.3,
):
    """A data set of equal cases with some noise in their shapes."""
    rng = np.random.default_rng(0)
    samples = {name: rng.normal(*(inside or {}).get(name, (100, 20)), 500).astype(np.float32) for name in modalities}
    case = CaseFacts(
        spacing=spacing,
        shape=shape,
        labelled=True,
        inside=samples,
        outside={name: values - 30 for name, values in samples.items()},
        voxels=dict.fromkeys(classes, 1000),
        centres={value: np.array([50.0, 50, 50]) + 3 * value for value in classes},
        means={name: dict.fromkeys(classes, 100.0) for name in modalities},
        components=tuple(lesion_ml) if len(classes) <= 3 else (),
        extent=extent,
        lesion_slices=slices,
        foreground=0.01,
    )
    spacings, shapes = np.tile(np.array(spacing, float), (number, 1)), np.tile(np.array(shape, float), (number, 1))
    known = number if labelled is None else labelled
    return DatasetFacts(tuple(modalities), number, known, spacings, shapes, (case,) * min(number, 5), 0.1)


@pytest.fixture
def make_facts():
    return facts_of

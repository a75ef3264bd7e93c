import json

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import plan_generators, recorded_plan
from monai_ext.errors import ConfigError, DataError


@pytest.fixture
def items(tmp_path):
    """20 patients in folds 0 and 1, every fourth without lesion; one patient with two studies."""
    found = []
    for number in range(20):
        label = np.zeros((4, 4, 4), np.uint8)
        label[1, 1, 1] = 0 if number % 4 == 0 else 2
        path = tmp_path / f"{number}.nii.gz"
        nib.save(nib.Nifti1Image(label, np.eye(4)), path)
        found.append({"id": f"c{number}", "patient": f"p{number}", "fold": number // 10, "label": str(path)})
    found.append(found[3] | {"id": "c3b"})
    return found


def test_excluded_patients_are_balanced_and_get_no_map(items):
    plan = plan_generators(items, "excluded", share=0.5)
    (learns,) = plan.learns
    kinds = [(p in learns, int(p[1:]) // 10, int(p[1:]) % 4 == 0) for p in {i["patient"] for i in items}]
    # Fold 0 has negatives 0, 4, 8 and fold 1 has 12, 16: half, rounded down, of each.
    assert sum(taken for taken, fold, negative in kinds if (fold, negative) == (0, True)) == 1
    assert sum(taken for taken, fold, negative in kinds if (fold, negative) == (0, False)) == 3
    assert sum(taken for taken, fold, negative in kinds if (fold, negative) == (1, True)) == 1
    assert sum(taken for taken, fold, negative in kinds if (fold, negative) == (1, False)) == 4
    assert all((plan.generator_of(item["patient"]) is None) == (item["patient"] in learns) for item in items)
    assert plan.generator_of("somebody new") == 0


@pytest.mark.parametrize("splits", [2, 5])
def test_nobody_teaches_the_generator_that_makes_his_map(items, splits):
    plan = plan_generators(items, "crossfit", num_splits=splits)
    assert len(plan.learns) == splits
    for item in items:
        patient = item["patient"]
        assert patient not in plan.learns[plan.generator_of(patient)]
        assert sum(patient in learns for learns in plan.learns) == splits - 1
    sizes = [len(learns) for learns in plan.learns]
    assert max(sizes) - min(sizes) <= 1


def test_excluded_folds_teach_nobody(items):
    plan = plan_generators(items, "crossfit", exclude_folds=0)
    assert all(int(p[1:]) >= 10 for learns in plan.learns for p in learns)
    assert plan.generator_of("p0") == 0


def test_insample_leaks_by_design(items):
    plan = plan_generators(items, "insample")
    assert len(plan.learns[0]) == 20
    assert plan.generator_of("p1") == 0


def test_external_generators_make_everybodys_maps(items):
    plan = plan_generators(items, "external")
    assert plan.learns == ((),)
    assert {plan.generator_of(item["patient"]) for item in items} == {0}


def test_order_of_the_items_does_not_matter(items):
    for scheme in ("excluded", "crossfit"):
        assert plan_generators(items, scheme) == plan_generators(items[::-1], scheme)


def test_errors(items):
    with pytest.raises(ConfigError, match="crosfit"):
        plan_generators(items, "crosfit")
    with pytest.raises(ConfigError, match="at least 2 splits"):
        plan_generators(items, "crossfit", num_splits=1)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        plan_generators(items, "excluded", share=1.0)
    with pytest.raises(DataError, match="none of the 20 patients with labels"):
        plan_generators(items, "excluded", share=0.1)


def record(folder, plan, modalities=("adc", "hbv")):
    for k, patients in enumerate(plan.learns):
        (folder / f"split{k}").mkdir()
        for modality in modalities:
            content = {"training_patients": list(patients), "generator": "x"}
            (folder / f"split{k}/{modality}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("scheme", ["excluded", "crossfit", "insample"])
def test_the_records_tell_the_plan(items, tmp_path, scheme):
    plan = plan_generators(items, scheme)
    (tmp_path / "generators").mkdir()
    record(tmp_path / "generators", plan)
    read = recorded_plan(tmp_path / "generators", ["adc"], scheme)
    assert read.learns == plan.learns
    for patient in {item["patient"] for item in items}:
        assert read.generator_of(patient) == plan.generator_of(patient)
    assert read.generator_of("a patient of another hospital") == 0


def test_without_records_everybody_is_kept_and_a_broken_one_is_named(tmp_path):
    assert recorded_plan(tmp_path / "none", ["adc"]).generator_of("p0") == 0
    (tmp_path / "split0").mkdir()
    (tmp_path / "split0/adc.json").write_text("{}")
    with pytest.raises(DataError, match="not known") as error:
        recorded_plan(tmp_path, ["adc"])
    assert str(error.value.file).endswith("adc.json")

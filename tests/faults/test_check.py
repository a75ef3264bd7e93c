"""The check of a bundle's data set, as a user calls it before a training: all problems at once."""

import json
import shutil

import numpy as np
import pytest


def check(bundle, dataset, code):
    out = bundle.folder / "report.json"
    words = ["--bundle", bundle.subject.name, "--datalist", dataset.path, "--dataset_dir", dataset.root, "--json", out]
    words += ["--overlay", bundle.overlay]
    run = bundle.command("-m", "monai_ext.check", *words)
    assert run.returncode == code, run.output[-3000:]
    assert "Traceback" not in run.output
    problems = json.loads(out.read_text())["problems"]
    for problem in problems:
        assert problem["cause"] in run.stdout
    return problems


@pytest.mark.row(1, 4, 13)
def test_headers_and_voxels_of_all_cases_in_one_go(bundle, dataset):
    first, second, third = dataset.sections["training"]
    key = bundle.subject.first
    dataset.bytes(key, lambda content: content[: len(content) // 2], first)

    def spoil(values):
        values = np.ascontiguousarray(values, dtype=np.float32)
        values[1, 1, 1] = np.nan
        return values

    dataset.array(key, spoil, second)
    dataset.array("label", lambda values: np.full_like(values, 77), third)
    problems = check(bundle, dataset, 3)
    errors = {problem["case"]: problem for problem in problems if problem["severity"] == "error"}
    assert errors.keys() == {first["id"], second["id"], third["id"]}
    assert "ends early" in errors[first["id"]]["cause"]
    assert "NaN" in errors[second["id"]]["cause"]
    assert "77" in errors[third["id"]]["cause"]
    assert all(problem["remedy"] for problem in errors.values())


@pytest.mark.row(17)
@pytest.mark.only_for(lambda subject: subject.second, "bundles of several modalities")
def test_swapped_modalities_are_warned_of(bundle, dataset):
    first, second = bundle.subject.first, bundle.subject.second
    case = dataset.case
    case[first], case[second] = case[second], case[first]
    label = dataset.file("label")  # goes with the image that defines the grid
    label.unlink()
    shutil.copy(dataset.file(first), label)
    dataset.array("label", lambda values: np.zeros(values.shape, np.uint8))
    dataset.save()
    problems = [problem for problem in check(bundle, dataset, 0) if problem["case"] == case["id"]]
    causes = " ".join(problem["cause"] for problem in problems)
    assert f"called like {second}" in causes or "is it a CT" in causes, problems
    item = {key: str(dataset.root / path) for key, path in case.items() if str(path).endswith(".nii.gz")}
    run = bundle.infer({"id": "case7"} | item)
    assert run.returncode == 0, run.output[-3000:]
    assert "case7" in run.output
    assert f"called like {second}" in run.output or "is it a CT" in run.output


@pytest.mark.row(31)
@pytest.mark.only_for(lambda subject: subject.phantom == "bpmri", "bundles that take diffusion images")
def test_a_diffusion_image_without_its_low_b_value(bundle, dataset):
    for key in ("adc", "hbv"):
        dataset.file(key).unlink()
        del dataset.case[key]
    shutil.copy(dataset.file("t2w"), dataset.root / "b1000.nii.gz")
    dataset.case["dwi_b1000"] = "b1000.nii.gz"
    dataset.save()
    bundle.train(dataset).assert_error(3, dataset.case["id"], "adc is missing")

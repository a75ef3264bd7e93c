"""Which studies are left, and what a record says of those that are done."""

import json
import os
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ext import bundle
from monai_ext.data import StudyDataset
from monai_ext.data.io.record import record_file
from monai_ext.errors import CheckpointError, DataError
from monai_ext.transforms.gland import GlandPredictor


class Prepare:
    """A preprocessing that needs a second file beside the first."""

    fingerprint = "p"

    def resolve(self, item):
        return {**item, "adc": item["t2w"].replace("t2w", "adc")}

    def __call__(self, item):
        for path in (item["t2w"], self.resolve(item)["adc"]):
            if not os.path.exists(path):
                raise DataError("there is no such file", "Copy it.", item["id"], path)
        return {"id": item["id"], "image": np.ones(3)}


@pytest.fixture
def items(tmp_path):
    found = []
    for patient in range(7):
        folder = tmp_path / "in" / f"p{patient}"
        folder.mkdir(parents=True)
        for key in ("t2w", "adc"):
            (folder / f"{key}.mha").write_bytes(f"{patient}{key}".encode())
        found.append({"t2w": str(folder / "t2w.mha")})
    return found


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path / "model.pt"


@pytest.fixture
def studies(tmp_path, items, weights):
    """``studies(items, ...)``; ``studies.segment()`` does what is left and returns its ids."""

    def build(some=None, **options):
        given = {"transform": Prepare(), "output_dir": tmp_path / "out", "weights": [weights]} | options
        return StudyDataset(items if some is None else some, **given)

    def segment(some=None, **options):
        dataset = build(some, **options)
        for index in range(len(dataset)):
            item = dataset[index]
            if "failure" not in item:
                mask = dataset.mask(item["id"])
                mask.parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(np.full((4, 4, 4), index, np.uint8), np.eye(4)), mask)
                dataset.finish(item["id"])
        return [item["id"] for item in dataset.data]

    build.segment = segment
    return build


ALL = [f"p{patient}" for patient in range(7)]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_study_belongs_to_one_process(studies, monkeypatch, size):
    monkeypatch.setenv("WORLD_SIZE", str(size))
    shares = []
    for rank in range(size):
        monkeypatch.setenv("RANK", str(rank))
        shares.append([item["id"] for item in studies().data])
        assert studies().num_studies == 7
    assert sorted(case for share in shares for case in share) == ALL
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_done_is_done(studies):
    assert studies.segment() == ALL
    assert studies.segment() == []
    assert studies.segment(redo=True) == ALL


@pytest.mark.parametrize("change", ["weights", "settings", "version", "preprocessing"])
def test_what_made_all_results_differs(studies, weights, monkeypatch, change):
    record = {"version": "1", "settings": {"flips": [], "datalist": "x"}}
    monkeypatch.setattr(bundle, "_record", record)
    studies.segment()
    monkeypatch.setattr(bundle, "_record", record | {"settings": {"flips": [], "datalist": "y"}, "data": {}})
    assert studies.segment() == []
    if change == "weights":
        weights.write_bytes(b"others")
    elif change == "preprocessing":
        monkeypatch.setattr(Prepare, "fingerprint", "q")
    else:
        monkeypatch.setattr(bundle, "_record", record | {change: {"flips": [0]}})
    assert studies.segment() == ALL


@pytest.mark.parametrize("key", ["t2w", "adc"])
def test_a_file_differs_also_one_that_the_item_does_not_name(studies, items, key):
    studies.segment()
    path = items[3]["t2w"].replace("t2w", key)
    with open(path, "a") as file:
        file.write("more")
    assert studies.segment() == ["p3"]


def test_a_file_differs_in_its_middle(studies, items):
    """A print is of both ends of a file; a change in between gives it another time."""
    path = Path(items[3]["t2w"])
    path.write_bytes(bytes(200_000))
    studies.segment()
    path.write_bytes(bytes(100_000) + b"1" + bytes(99_999))
    assert studies.segment() == ["p3"]


def test_what_lies_there_is_not_what_was_written(studies, tmp_path):
    studies.segment()
    masks = [tmp_path / "out" / case / f"{case}_seg.nii.gz" for case in ALL]
    masks[0].write_bytes(masks[0].read_bytes()[:-20])
    masks[1].unlink()
    for number, text in ((2, ""), (3, "[]"), (4, '{"input": 3}')):
        record_file(masks[number]).write_text(text)
    content = json.loads(record_file(masks[5]).read_text())
    record_file(masks[5]).write_text(json.dumps({**content, "output": {}}))
    assert studies.segment() == ALL[:6]


def test_the_order_and_the_place_of_the_data_do_not_matter(studies, items, tmp_path):
    studies.segment()
    assert studies.segment(items[::-1]) == studies.segment(items[2:4]) == []
    os.rename(tmp_path / "in", tmp_path / "moved")
    assert studies.segment([{"t2w": item["t2w"].replace("/in/", "/moved/")} for item in items]) == []


def test_a_result_of_another_study_is_kept(studies, items):
    studies.segment([{**items[0], "id": "x"}])
    with pytest.raises(DataError, match=r"case x: .*p1/t2w.mha: .*of another study, .*p0/t2w.mha.*--redo true"):
        studies([{**items[1], "id": "x"}])
    assert studies.segment([{**items[1], "id": "x"}], redo=True) == ["x"]


@pytest.mark.parametrize("ids", [("a", "a"), ("..", "b"), ("a/b", "c")])
def test_ids_are_checked_before_any_work(studies, items, ids):
    with pytest.raises(DataError, match="1 error"):
        studies([{**item, "id": case} for item, case in zip(items, ids)])


def test_an_item_that_is_none(studies):
    with pytest.raises(DataError, match=r"an item of the datalist is 'a.nii.gz'"):
        studies(["a.nii.gz"])


def test_a_study_that_fails_is_an_item_unless_it_is_the_only_one(studies, items):
    os.unlink(items[2]["t2w"])
    assert studies.segment() == ALL
    dataset = studies()
    assert [item["id"] for item in dataset.data] == ["p2"]
    failure = {"cause": "there is no such file", "remedy": "Copy it.", "file": items[2]["t2w"]}
    assert dataset[0] == {"id": "p2", "failure": failure}
    with pytest.raises(DataError, match=r"case p2: .*no such file"):
        studies(items[2:3])[0]


def test_what_is_no_fault_of_a_study_is_raised_and_a_surprise_is_a_failure(studies):
    dataset = studies()
    with pytest.raises(CheckpointError):
        dataset.failure(CheckpointError("gland.pt"))
    assert dataset.failure(ValueError("a\nb"))["cause"] == "ValueError: b"


def test_weights_that_are_missing_leave_all_to_do(studies, weights):
    studies.segment()
    weights.unlink()
    assert len(studies()) == 7


def test_the_path_of_a_datalist_is_a_list_of_studies(studies, items, tmp_path):
    (tmp_path / "in/list.json").write_text(json.dumps({"testing": [{"t2w": f"p{p}/t2w.mha"} for p in range(7)]}))
    assert studies.segment(tmp_path / "in/list.json") == ALL
    assert studies.segment() == []


def test_a_failure_that_an_item_brings_is_the_studys(studies, items):
    known = {"cause": "no adc was found", "remedy": "Name it.", "file": ""}
    dataset = studies([*items[:2], {"id": "x", "failure": known}])
    assert [dataset[index].get("failure") for index in range(3)] == [None, None, known]
    with pytest.raises(DataError, match=r"case x: no adc was found\. Name it\."):
        studies([{"id": "x", "failure": known}])[0]


def test_what_is_said_of_a_study_is_noted_with_its_result(studies, items, tmp_path, monkeypatch):
    def said(self, item):
        case = item["id"]
        if case == "p1":
            warnings.warn(f"case {case}: a.mha: it is constant", stacklevel=2)
            GlandPredictor(tmp_path / "none.pt", otherwise="centre")(torch.ones(1, 4, 4, 4))
        warnings.warn("a library is old", DeprecationWarning, stacklevel=2)
        return {"id": case, "image": np.ones(3)}

    monkeypatch.setattr(Prepare, "__call__", said)
    studies.segment()
    notes = [
        json.loads(record_file(tmp_path / f"out/{case}/{case}_seg.nii.gz").read_text()).get("notes") for case in ALL
    ]
    gland = "no gland mask and no gland network: the middle 64 mm of the scan stand for the gland"
    assert notes == [None, ["a.mha: it is constant", gland], *[None] * 5]

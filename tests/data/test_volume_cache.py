import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ext.data import volume_cache
from monai_ext.data.volume_cache import VolumeDataset
from monai_ext.errors import ConfigError, DataError


class Prepare:
    """Reads an array, and counts how often."""

    def __init__(self, factor=1.0):
        self.factor, self.calls = factor, []

    def __repr__(self):
        return f"Prepare({self.factor})"

    def __call__(self, item):
        self.calls.append(item["id"])
        if "bad" in str(item["id"]):
            raise DataError("nothing but noise", "Scan again.", item["id"], item["image"])
        values = torch.from_numpy(np.load(item["image"])) * self.factor
        affine = torch.diag(torch.tensor([0.5, 1 / 3, 3, 1]).double())
        meta = {"original_affine": affine * 2, "spatial_shape": np.array([9, 9, 9]), "filename_or_obj": item["image"]}
        result = {"id": item["id"], "image": MetaTensor(values, affine=affine, meta=meta), "fold": 2, "drop": object()}
        result["label"] = MetaTensor((values[:1] > 1).to(torch.uint8), affine=affine)
        return {**result, "original_shape": torch.tensor([9, 9, 9]), "grid": torch.eye(4, dtype=torch.float64) / 3}


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    items = []
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(3, 6, 5, 4)).astype(np.float32))
        items.append({"id": name, "image": str(tmp_path / f"{name}.npy")})
    return items


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_item_equals_the_transform(data, tmp_path, axis):
    volumes = VolumeDataset(data, Prepare(), tmp_path / "cache", axis if axis < 0 else axis + 1, half=False)
    for _ in range(2):  # computed, then read
        for index, item in enumerate(data):
            found, expected = volumes[index], Prepare()(item)
            assert found.keys() == expected.keys() - {"drop"}
            for key in ("image", "label", "original_shape", "grid"):
                assert found[key].dtype == expected[key].dtype
                assert torch.equal(torch.as_tensor(found[key]), torch.as_tensor(expected[key]))
            assert torch.equal(found["image"].affine, expected["image"].affine)
            assert torch.equal(found["image"].meta["original_affine"], expected["image"].meta["original_affine"])
            assert found["image"].meta["spatial_shape"].tolist() == [9, 9, 9]
            assert (found["id"], found["fold"]) == (item["id"], 2)
        volumes = VolumeDataset(data, Prepare(), tmp_path / "cache", axis if axis < 0 else axis + 1, half=False)


def test_computed_once(data, tmp_path):
    first = Prepare()
    assert len(VolumeDataset(data, first, tmp_path / "cache")) == 3
    second = Prepare()
    volumes = VolumeDataset(data, second, tmp_path / "cache")
    assert len(volumes) == 3
    assert [volumes[index]["id"] for index in range(3)] == ["a", "b", "c"]
    assert first.calls == ["a", "b", "c"]
    assert second.calls == []


def test_a_change_of_file_transform_or_item_is_noticed(data, tmp_path):
    len(VolumeDataset(data, Prepare(), tmp_path / "cache"))
    np.save(data[1]["image"], np.zeros((3, 6, 5, 4), np.float32))
    os.utime(data[1]["image"], (1, 1))
    for items, transform, expected in (
        (data, Prepare(), ["b"]),
        (data, Prepare(2.0), ["a", "b", "c"]),
        ([{**data[0], "fold": 1}], Prepare(), ["a"]),
    ):
        volumes = VolumeDataset(items, transform, tmp_path / "cache")
        volumes.prepare()
        assert transform.calls == expected


def test_files_that_only_the_transform_knows_are_watched(data, tmp_path):
    class Sibling(Prepare):
        def resolve(self, item):
            return {**item, "extra": str(tmp_path / "extra.txt")}

    for content, expected in (("1", 3), ("1", 0), ("22", 3)):
        if not (tmp_path / "extra.txt").exists() or (tmp_path / "extra.txt").read_text() != content:
            (tmp_path / "extra.txt").write_text(content)
        transform = Sibling()
        VolumeDataset(data, transform, tmp_path / "cache").prepare()
        assert len(transform.calls) == expected


def test_the_voxels_beside_a_header_are_watched(data, tmp_path):
    (tmp_path / "a.mhd").write_text("ElementDataFile = a.raw\n")
    items = [data[0] | {"mask": str(tmp_path / "a.mhd")}]
    for content, expected in ((bytes(9), ["a"]), (None, []), (bytes(8) + b"1", ["a"])):
        if content is not None:
            (tmp_path / "a.raw").write_bytes(content)
        transform = Prepare()
        VolumeDataset(items, transform, tmp_path / "cache").prepare()
        assert transform.calls == expected


def damage_nothing_but_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("suffix", ["-image.npy", "-label.npy", ".json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        damage_nothing_but_a_bit,
    ],
)
def test_a_damaged_cache_is_computed_again(data, tmp_path, suffix, damage):
    expected = VolumeDataset(data[:1], Prepare(), tmp_path / "cache")[0]
    (victim,) = (path for path in (tmp_path / "cache").iterdir() if path.name.endswith(suffix))
    damage(victim)
    transform = Prepare()
    found = VolumeDataset(data[:1], transform, tmp_path / "cache")[0]
    assert transform.calls == ["a"]
    assert torch.equal(found["image"], expected["image"])
    assert torch.equal(found["label"], expected["label"])


def test_other_json_is_no_description(data, tmp_path):
    VolumeDataset(data[:1], Prepare(), tmp_path / "cache")[0]
    (path,) = (tmp_path / "cache").glob("*.json")
    path.write_text(json.dumps([1, 2]))
    assert VolumeDataset(data[:1], Prepare(), tmp_path / "cache")[0]["id"] == "a"


def test_nothing_half_written_stays(data, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ConfigError, match=r"cannot write the cache .*: No space left.*--cache_dir"):
        VolumeDataset(data, Prepare(), tmp_path / "cache").prepare()
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"cache.lock"}


def test_what_a_killed_process_left_in_the_cache_is_removed(data, tmp_path):
    code = "import os, sys; from monai_ext.data.io.whole_file import whole_file\n"
    code += "with whole_file(sys.argv[1]) as file:\n    file.write_text('half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "cache/a-image.npy")])
    assert list((tmp_path / "cache").glob(".*"))
    VolumeDataset(data, Prepare(), tmp_path / "cache").prepare()
    assert not list((tmp_path / "cache").glob(".*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_all_failing_cases_are_reported_together(data, tmp_path, workers):
    items = [data[0], {**data[1], "id": "bad 1"}, data[2], {**data[1], "id": "bad 2"}]
    volumes = VolumeDataset(items, Prepare(), tmp_path / "cache", num_workers=workers)
    with pytest.raises(DataError, match="2 of 4 cases cannot be used") as caught:
        len(volumes)
    assert "bad 1" in str(caught.value)
    assert "bad 2" in str(caught.value)
    assert "Scan again" in str(caught.value)
    assert volumes[2]["id"] == "c"  # the good ones are kept


def test_programming_errors_name_the_case(data, tmp_path):
    with pytest.raises(RuntimeError, match="case b failed") as caught:
        VolumeDataset([{**data[1], "image": None}], Prepare(), tmp_path / "cache").prepare()
    assert isinstance(caught.value.__cause__, TypeError)


def test_slices_are_contiguous_memory_maps(data, tmp_path):
    volumes = VolumeDataset(data, Prepare(), tmp_path / "cache", half=False)
    volume = volumes.volume(0, "image")
    assert isinstance(volume, np.memmap)
    assert volume[2].flags.c_contiguous
    np.testing.assert_array_equal(volume[2], np.load(data[0]["image"])[..., 2])
    assert volumes.volume(0, "nothing") is None


def test_foreground_counts(data, tmp_path):
    volumes = VolumeDataset(data, Prepare(), tmp_path / "cache")
    np.testing.assert_array_equal(volumes.foreground(1), (np.load(data[1]["image"])[0] > 1).sum((0, 1)))


def test_pickle(data, tmp_path):
    volumes = VolumeDataset(data, Prepare(), tmp_path / "cache")
    volumes.prepare()
    assert torch.equal(pickle.loads(pickle.dumps(volumes))[1]["image"], volumes[1]["image"])


def test_with_the_bpmri_preprocessing(tmp_path):
    """Siblings that an item does not name count as its files, and the stored description is exact."""
    from monai_ext.transforms import BpMRIPreprocessing

    rng = np.random.default_rng(0)
    affine = np.diag([0.7, 0.7, 3, 1])
    for key in ("t2w", "adc", "hbv", "gland"):
        values = rng.uniform(500, 2000, (16, 16, 6)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"x_{key}.nii.gz")
    prepare = BpMRIPreprocessing((16, 16, 8), (16, 16, 8), 1)
    items = [{"image": str(tmp_path / "x_t2w.nii.gz")}]
    first = VolumeDataset(items, prepare, tmp_path / "cache", half=False)[0]
    again = VolumeDataset(items, prepare, tmp_path / "cache", half=False)[0]
    expected = prepare(items[0])
    assert torch.equal(first["image"], expected["image"])
    assert torch.equal(again["original_affine"], expected["original_affine"])
    nibabel.save(nibabel.Nifti1Image(values * 0.5, affine), tmp_path / "x_adc.nii.gz")
    changed = VolumeDataset(items, prepare, tmp_path / "cache", half=False)[0]
    assert not torch.equal(changed["image"][1], expected["image"][1])
    assert torch.equal(changed["image"][0], expected["image"][0])


def test_preparing_draws_no_random_numbers(tmp_path):
    """A run with an empty cache and a run with a filled one start from the same weights."""

    def prepare(item):
        return {"image": MetaTensor(torch.full((1, 2, 2, 2), float(item["value"])))}

    states = []
    for _ in range(2):
        torch.manual_seed(0)
        len(VolumeDataset([{"value": 1}, {"value": 2}], prepare, tmp_path))
        states.append(torch.get_rng_state())
    torch.manual_seed(0)
    assert all(torch.equal(state, torch.get_rng_state()) for state in states)


def test_counts_of_classes_by_slice(data, tmp_path):
    def prepare(item):
        label = np.random.default_rng(ord(item["id"])).choice([0, 0, 1, 4, 200], size=(1, 6, 5, 4)).astype(np.uint8)
        label[..., 1] = 0
        return {"id": item["id"], "label": MetaTensor(torch.from_numpy(label), affine=torch.eye(4))}

    for _ in range(2):  # computed, then read
        volumes = VolumeDataset(data, prepare, tmp_path / "cache")
        for index in range(len(volumes)):
            label = volumes[index]["label"].numpy()[0]
            found = volumes.classes(index)
            assert found.keys() == set(np.unique(label)) - {0}
            for value, counts in found.items():
                assert counts.tolist() == (label == value).sum((0, 1)).tolist()
            assert np.array_equal(sum(found.values()), volumes.foreground(index))
    unlabelled = VolumeDataset(data, lambda item: {"id": item["id"]}, tmp_path / "other")
    assert unlabelled.classes(0) is None


class Slow(Prepare):
    """Takes its time, and leaves a line for each case that it prepares."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def __repr__(self):
        return "Slow()"

    def __call__(self, item):
        with open(self.log, "a") as log:
            log.write(f"{item['id']}\n")
        time.sleep(0.3)
        return super().__call__(item)


def prepare(data, cache, log):
    VolumeDataset(data, Slow(log), cache).prepare()


@pytest.mark.row(40)
def test_processes_that_share_a_cache_prepare_each_case_once(data, tmp_path):
    log = tmp_path / "log.txt"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=prepare, args=(data, tmp_path / "cache", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(log.read_text().split()) == ["a", "b", "c"]


def test_half_the_space_at_a_known_error(data, tmp_path):
    """A value is off by its 2048th at most; crops and cases are float32; labels, and what float16 cannot hold, stay."""
    whole, half = (VolumeDataset(data, Prepare(), tmp_path / name, half=name == "half") for name in ("whole", "half"))
    for exact, found in zip(whole, half, strict=True):
        assert found["image"].dtype == torch.float32
        error = (found["image"] - exact["image"]).abs().as_tensor()
        assert error.max() > 0
        assert (error <= exact["image"].as_tensor().abs() / 2048 + 3e-8).all()
        assert torch.equal(found["label"].as_tensor(), exact["label"].as_tensor())
    sizes = [
        sum(np.load(file, mmap_mode="r").nbytes for file in (tmp_path / name).glob("*-image.npy"))
        for name in ("whole", "half")
    ]
    assert sizes[0] == 2 * sizes[1]
    large = VolumeDataset(data[:1], Prepare(1e5), tmp_path / "half", half=True)
    assert torch.equal(large[0]["image"].as_tensor(), Prepare(1e5)(data[0])["image"].as_tensor())


def test_a_start_reads_no_volume(data, tmp_path, monkeypatch):
    len(VolumeDataset(data, Prepare(), tmp_path / "cache"))
    read = []
    monkeypatch.setattr(volume_cache, "_checksum", lambda path, f=volume_cache._checksum: read.append(path) or f(path))
    len(VolumeDataset(data, Prepare(), tmp_path / "cache"))
    assert read == []
    len(VolumeDataset(data, Prepare(), tmp_path / "cache", verify=True))
    assert len(read) == 6


def test_a_copied_cache_is_compared_once_and_used(data, tmp_path, monkeypatch):
    first = VolumeDataset(data, Prepare(), tmp_path / "cache")
    assert len(first) == 3
    expected = first[2]["image"]
    for file in (tmp_path / "cache").glob("*.npy"):
        os.utime(file, (1, 1))
    transform, read = Prepare(), []
    checksum = volume_cache._checksum
    monkeypatch.setattr(
        volume_cache, "_checksum", lambda p: (read.append(p) if p.suffix == ".npy" else 0) or checksum(p)
    )
    for reads in (6, 6):  # the second start trusts the times that the first one noted
        volumes = VolumeDataset(data, transform, tmp_path / "cache")
        assert len(volumes) == 3
        assert len(read) == reads
    assert transform.calls == []
    assert torch.equal(volumes[2]["image"], expected)


def test_damage_that_leaves_size_and_time_is_found_on_demand(data, tmp_path):
    len(VolumeDataset(data[:1], Prepare(), tmp_path / "cache"))
    (victim,) = (tmp_path / "cache").glob("*-image.npy")
    before = victim.stat().st_mtime_ns
    damage_nothing_but_a_bit(victim)
    os.utime(victim, ns=(before, before))
    unseen, seen = Prepare(), Prepare()
    len(VolumeDataset(data[:1], unseen, tmp_path / "cache"))
    len(VolumeDataset(data[:1], seen, tmp_path / "cache", verify=True))
    assert (unseen.calls, seen.calls) == ([], ["a"])

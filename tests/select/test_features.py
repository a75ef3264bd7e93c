"""What is measured is kept, and weighs alike."""

from pathlib import Path

import numpy as np
import pytest

from monai_ext.errors import CheckpointError, ConfigError, DataError
from monai_ext.select.features import measure, patient_features, read_kept


class Count:
    """Measures the size of a file, and remembers what it was asked."""

    preprocessing = None

    def __init__(self, identity="a", fault=None):
        self.identity, self.asked, self.fault = {"count": identity}, [], fault or {}

    def __call__(self, item):
        self.asked.append(item["id"])
        if item["id"] in self.fault:
            raise self.fault[item["id"]]
        size = float(len(Path(item["image"]).read_bytes()))
        return {"size": np.array([size, 1]), "slice": np.full((4, 3), 0.5), "pixel": np.ones(2)}


@pytest.fixture
def items(tmp_path):
    for number in range(4):
        (tmp_path / f"s{number}.nii").write_bytes(b"x" * (10 + number))
    return [{"id": f"s{number}", "image": str(tmp_path / f"s{number}.nii"), "fold": 1} for number in range(4)]


def test_an_interrupted_look_goes_on_and_ends_the_same(items, tmp_path):
    whole = measure(items, Count(), tmp_path / "whole", "")
    stopped = Count(fault={"s2": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        measure(items, stopped, tmp_path / "kept", "")
    second = Count()
    found = measure(items, second, tmp_path / "kept", "")
    assert second.asked == ["s2", "s3"]
    for case, groups in whole.features.items():
        assert list(groups) == ["size"]
        assert np.array_equal(found.features[case]["size"], groups["size"])
    assert read_kept(found.files["s1"])["slice"].shape == (4, 3)


def test_other_files_settings_and_damage_are_seen(items, tmp_path):
    measure(items, Count(), tmp_path / "kept", "")
    for change, asked in (
        ("none", []),
        ("file", ["s1"]),
        ("torn", ["s3"]),
        ("label", []),
        ("identity", [f"s{n}" for n in range(4)]),
    ):
        look = Count("b" if change == "identity" else "a")
        if change == "file":
            (tmp_path / "s1.nii").write_bytes(b"y" * 11)
        if change == "torn":
            place = measure(items, Count(), tmp_path / "kept", "").files["s3"]
            place.write_bytes(place.read_bytes()[:60])
        given = [{**item, "label": "none.nii", "fold": 2} for item in items] if change == "label" else items
        measure(given, look, tmp_path / "kept", "")
        assert look.asked == asked, change


def test_faults_of_one_scan_are_kept_apart_and_those_of_all_end(items, tmp_path):
    broken = DataError("torn", "Export it again.", "s1", "s1.nii")
    found = measure(items, Count(fault={"s1": broken}), tmp_path / "a", "")
    assert found.broken == {"s1": "torn. Export it again."}
    assert list(found.features) == ["s0", "s2", "s3"]
    lacking = DataError("no gland network", "Train it.", "s0", "gland.pt")
    with pytest.raises(CheckpointError, match="no gland network"):
        measure(items, Count(fault={"s0": lacking}), tmp_path / "b", "")
    with pytest.raises(ZeroDivisionError):
        measure(items, Count(fault={"s0": ZeroDivisionError()}), tmp_path / "c", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        measure(items, Count(), tmp_path / "file", "")


def scan(**groups):
    return [{key: np.asarray(values, dtype=np.float32) for key, values in groups.items()}]


def test_groups_weigh_alike_and_scale_and_shift_do_not_count():
    rng = np.random.default_rng(0)
    few, many = rng.normal(size=(200, 2)), rng.normal(size=(200, 100))
    found = patient_features([scan(a=a, b=b) for a, b in zip(few, many)])
    parts = (found[:, :2] ** 2).sum(1).mean(), (found[:, 2:] ** 2).sum(1).mean()
    assert parts[0] == pytest.approx(parts[1], rel=0.2)
    other = patient_features([scan(a=7 * a + 100, b=b) for a, b in zip(few, many)])
    assert np.allclose(found, other, atol=1e-3)


def test_one_wild_number_does_not_rule_and_the_same_everywhere_is_nothing():
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[:, 2] = 4.0
    values[7, 0] = 1e6
    found = patient_features([scan(a=row) for row in values])
    assert np.isfinite(found).all()
    assert (found[:, 2] == 0).all()
    assert found[7, 0] == pytest.approx(5 / np.sqrt(3))


def test_of_a_patient_the_mean_of_the_scans_is_taken():
    rows = [[0.0, 1.0], [2.0, 5.0], [4.0, 3.0]]
    two = [[*scan(a=rows[0]), *scan(a=rows[1])], scan(a=rows[2]), scan(a=[9.0, 9.0])]
    one = [scan(a=[1.0, 3.0]), scan(a=rows[2]), scan(a=[9.0, 9.0])]
    assert np.allclose(patient_features(two), patient_features(one))

import json
import logging

import pytest
import torch

from monai_ext.data import MapProvenance, fingerprint, refuse_leaking_maps
from monai_ext.errors import DataError


def write_map(folder, name, patient, training, content=b"map"):
    file = folder / f"{name}.nii.gz"
    file.write_bytes(content)
    MapProvenance(patient, "f" * 64, training, {"method": "fixed_point_gan", "sigma": 1.15}).write(file)
    return str(file)


def test_round_trip(tmp_path):
    file = write_map(tmp_path, "a.b_adc_map", 7, (11, "10", 10))
    found = MapProvenance.read(file)
    assert found.patient == "7"
    assert found.training_patients == ("10", "11")
    assert found.settings["sigma"] == 1.15
    assert not found.leaks
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.b_adc_map.nii.gz", "a.b_adc_map.provenance.json"]


def test_a_leaking_set_up_is_refused(tmp_path):
    """Generator trained on patients 1 to 3: its maps serve patient 4, and no study of patient 2."""
    training = ("1", "2", "3")
    items = [
        {"id": case, "patient": case[0], "adc_map": write_map(tmp_path, case, case[0], training)}
        for case in ("4_a", "2_b", "3_c")
    ]
    assert len(refuse_leaking_maps(items[:1], ["adc_map"])) == 1
    with pytest.raises(DataError) as error:
        refuse_leaking_maps(items, ["adc_map"])
    message = str(error.value)
    assert "2_b" in message
    assert "3_c" in message
    assert "4_a" not in message
    assert "leaks" in message
    assert error.value.exit_code == 3


def test_cross_fitted_maps_pass(tmp_path):
    """The maps of fold k come from the generator that was trained on all other folds."""
    patients = [str(p) for p in range(6)]
    items = []
    for p in patients:
        others = [q for q in patients if int(q) % 3 != int(p) % 3]
        items.append({"id": p, "t2w_map": write_map(tmp_path, p, p, others)})
    assert [p.patient for p in refuse_leaking_maps(items, ["t2w_map"])] == patients


def test_the_patient_counts_not_the_case(tmp_path):
    file = write_map(tmp_path, "second_study", "10", ("10",))
    with pytest.raises(DataError, match="leaks"):
        refuse_leaking_maps([{"id": "10_2", "patient": 10, "m": file}], ["m"])


def test_a_map_of_another_patient_is_refused(tmp_path):
    items = [{"id": "1", "m": write_map(tmp_path, "2", "2", ("5",))}]
    with pytest.raises(DataError, match="of patient 2, the case of patient 1"):
        refuse_leaking_maps(items, ["m"])
    # A generator that saw patient 2 leaks through patient 2's map wherever it is used.
    items = [{"id": "1", "m": write_map(tmp_path, "2", "2", ("2",))}]
    with pytest.raises(DataError, match="leaks"):
        refuse_leaking_maps(items, ["m"])


def test_control_goes_on_and_says_so(tmp_path, caplog):
    items = [{"id": "1", "m": write_map(tmp_path, "1", "1", ("1",))}]
    with caplog.at_level(logging.WARNING):
        assert refuse_leaking_maps(items, ["m"], control=True)[0].leaks
    assert "control" in caplog.text
    with pytest.raises(DataError, match="no anomaly map"):
        refuse_leaking_maps([{"id": "1"}], ["m"], control=True)


def test_what_is_missing_or_altered_is_named_at_once(tmp_path):
    good = write_map(tmp_path, "good", "1", ())
    bare = tmp_path / "bare.nii.gz"
    bare.write_bytes(b"map")
    altered = write_map(tmp_path, "altered", "3", ())
    (tmp_path / "altered.nii.gz").write_bytes(b"another")
    broken = write_map(tmp_path, "broken", "4", ())
    (tmp_path / "broken.provenance.json").write_text("{")
    foreign = write_map(tmp_path, "foreign", "5", ())
    content = json.loads((tmp_path / "foreign.provenance.json").read_text())
    del content["training_patients"]
    (tmp_path / "foreign.provenance.json").write_text(json.dumps(content))
    gone = str(tmp_path / "gone.nii.gz")
    files = [good, str(bare), altered, broken, foreign, gone]
    items = [{"id": f"{i}", "m": f} for i, f in enumerate(files, 1)]
    with pytest.raises(DataError) as error:
        refuse_leaking_maps([*items, {"id": "8"}], ["m"])
    for part in (
        "case 2: ",
        "case 3: ",
        "case 4: ",
        "case 5: ",
        "case 6: ",
        "case 8: ",
        "not the one",
        "no provenance",
    ):
        assert part in str(error.value), part
    assert "case 1: " not in str(error.value)


def test_fingerprint_tells_generators_apart():
    torch.manual_seed(0)
    weights = {"a": torch.rand(3, 4), "b": torch.tensor(1), "c": torch.rand(2).bfloat16()}
    same = fingerprint(weights)
    assert len(same) == 64
    assert fingerprint(dict(reversed(weights.items()))) == same
    assert fingerprint({**weights, "a": weights["a"].t().contiguous().t()}) == same
    different = [
        {**weights, "a": weights["a"] + 1e-6},
        {**weights, "a": weights["a"].reshape(4, 3)},
        {**weights, "b": torch.tensor(1, dtype=torch.int32)},
        {"a": weights["a"], "b": weights["b"]},
    ]
    assert len({same, *map(fingerprint, different)}) == 5

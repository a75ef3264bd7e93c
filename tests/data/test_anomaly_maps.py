import logging

import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import GeneratorPlan, MapProvenance, PreflightError, map_file, with_maps

ITEMS = [{"id": name, "patient": name, "label": "x.nii.gz"} for name in ("a", "b", "c")]


def write(folder, case, modality="adc", learned=("z",)):
    path = map_file(folder, case, modality)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4)), path)
    MapProvenance(case, "generator", learned).write(path)
    return path


def test_maps_are_named(tmp_path):
    for item in ITEMS:
        write(tmp_path, item["id"])
    found = with_maps(ITEMS, tmp_path, ["adc"])
    assert [item["adc_map"] for item in found] == [str(map_file(tmp_path, i["id"], "adc")) for i in ITEMS]
    assert with_maps(ITEMS, tmp_path, []) == ITEMS


def test_a_leaking_set_up_is_refused(tmp_path, caplog):
    """The map of patient b comes from a generator that was trained on b."""
    write(tmp_path, "a")
    write(tmp_path, "b", learned=("b", "z"))
    write(tmp_path, "c")
    with pytest.raises(PreflightError, match=r"b.*the map leaks"):
        with_maps(ITEMS, tmp_path, ["adc"])
    with caplog.at_level(logging.WARNING):
        assert len(with_maps(ITEMS, tmp_path, ["adc"], control=True)) == 3
    assert "a control experiment, not a result" in caplog.text


def test_patients_of_the_generator_are_left_out(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "c")
    plan = GeneratorPlan("excluded", (("b",),), {"b": None})
    assert [item["id"] for item in with_maps(ITEMS, tmp_path, ["adc"], plan)] == ["a", "c"]
    with pytest.raises(PreflightError, match="every case was used to train the generators"):
        with_maps(ITEMS[1:2], tmp_path, ["adc"], plan)


def test_missing_maps_are_errors_or_left_to_the_mapper(tmp_path):
    write(tmp_path, "a")
    with pytest.raises(PreflightError, match="no provenance"):
        with_maps(ITEMS, tmp_path, ["adc"])
    found = with_maps(ITEMS, tmp_path, ["adc"], mapper=object())
    assert ["adc_map" in item for item in found] == [True, False, False]


@pytest.mark.parametrize("given", [("t2w",), ("adc",), ("hbv",), ("adc", "hbv")])
@pytest.mark.parametrize("folder", [True, False], ids=["training", "inference"])
def test_every_map_that_the_datalist_gives_is_looked_at(tmp_path, given, folder):
    """Also where a mapper makes the others: the label itself would pass for a map."""
    files = {f"{modality}_map": str(write(tmp_path / "given", "a", modality)) for modality in given}
    items = [ITEMS[0] | files, ITEMS[1]]
    maps = {"folder": tmp_path / "made" if folder else None, "modalities": ["t2w", "adc", "hbv"], "mapper": object()}
    assert with_maps(items, **maps) == items
    for file in files.values():
        provenance = MapProvenance.file_of(file)
        content = provenance.read_text()
        provenance.unlink()
        with pytest.raises(PreflightError, match=r"case a: .*no provenance"):
            with_maps(items, **maps)
        MapProvenance("a", "generator", ("a",)).write(file)
        with pytest.raises(PreflightError, match=r"case a: .*the map leaks"):
            with_maps(items, **maps)
        provenance.write_text(content)


def test_shuffled_maps_are_another_patients(tmp_path):
    for item in ITEMS:
        write(tmp_path, item["id"])
    found = with_maps(ITEMS, tmp_path, ["adc"], shuffle=True)
    assert [item["maps_of"] for item in found] == ["b", "c", "a"]
    assert all(item["maps_of"] in item["adc_map"] for item in found)

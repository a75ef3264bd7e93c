"""The check of a data set by voxels, without a bundle: all problems at once, as a table and as JSON."""

import json

import nibabel as nib
import numpy as np
import pytest

from monai_ext.check import check
from monai_ext.errors import ConfigError

RNG = np.random.default_rng(0)
SHAPE = (12, 11, 10)
GOOD = {
    "ct": RNG.uniform(-1000, 1000, SHAPE),
    "pet": RNG.exponential(1, SHAPE),
    "t2w": RNG.uniform(0, 600, SHAPE),
    "adc": RNG.uniform(500, 2500, SHAPE),
    "hbv": RNG.uniform(0, 90, SHAPE),
    "label": (RNG.random(SHAPE) > 0.9).astype(float),
}


@pytest.fixture
def report(tmp_path, capsys):
    """Write cases of arrays, check them, return (exit code, problems, what was printed)."""

    def run(cases, **options):
        items = []
        for case, arrays in cases.items():
            item = {"id": case}
            for key, array in arrays.items():
                item[key] = f"{case}_{key}.nii.gz"
                image = nib.Nifti1Image(np.asarray(array, np.float32), np.diag([1, 1, 3, 1]))
                image.set_sform(image.affine, 1)
                image.header["descrip"] = item[key].encode()  # no two files are alike
                nib.save(image, tmp_path / item[key])
            items.append(item)
        (tmp_path / "datalist.json").write_text(json.dumps({"training": items}))
        code = 0
        try:
            check(str(tmp_path / "datalist.json"), str(tmp_path), json=str(tmp_path / "report.json"), **options)
        except SystemExit as end:
            code = end.code
        return code, json.loads((tmp_path / "report.json").read_text()), capsys.readouterr().out

    return run


def test_good_data(report):
    code, found, text = report({"a": GOOD, "b": GOOD})
    assert code == 0
    assert found == {"errors": 0, "warnings": 0, "problems": []}
    assert text == "0 error(s), 0 warning(s)\n"


def test_everything_in_one_go(report):
    nan = GOOD["t2w"].copy()
    nan[1, 2, 3] = np.nan
    cases = {
        "fine": GOOD,
        "nan": GOOD | {"t2w": nan},
        "flat": GOOD | {"hbv": np.full(SHAPE, 3)},
        "offset": GOOD | {"ct": GOOD["ct"] + 1024},
        "bequerel": GOOD | {"pet": GOOD["pet"] * 4000},
        "swapped": GOOD | {"ct": GOOD["pet"], "pet": GOOD["ct"]},
        "milli": GOOD | {"adc": GOOD["adc"] / 1000},
        "grid": GOOD | {"label": GOOD["label"][:, :, 1:]},
    }
    code, found, text = report(cases)
    assert code == 3
    assert (found["errors"], found["warnings"]) == (2, 6)
    said = {}
    for problem in found["problems"]:
        said.setdefault(problem["case"], []).append((problem["severity"], problem["cause"]))
        assert problem["case"] in text
        assert problem["cause"] in text
        assert problem["file"].endswith(".nii.gz")
        assert problem["remedy"]
    assert said["nan"] == [("error", "1 voxels are NaN or infinite")]
    assert said["grid"][0][0] == "error"
    assert "constant (3)" in said["flat"][0][1]
    assert "hold no air" in said["offset"][0][1]
    assert "Bq/ml" in said["bequerel"][0][1]
    assert sorted(what for _, text in said["swapped"] for what in ("no air", "is it a CT?") if what in text) == [
        "is it a CT?",
        "no air",
    ]
    assert "1e-3 mm2/s" in said["milli"][0][1]
    assert "fine" not in said


def test_headers_only_reads_no_voxels(report):
    code, found, _ = report({"flat": GOOD | {"hbv": np.full(SHAPE, 3)}}, headers_only=True)
    assert (code, found["problems"]) == (0, [])


def test_a_file_called_like_another_modality(report, tmp_path):
    report({"a": GOOD})
    content = json.loads((tmp_path / "datalist.json").read_text())
    content["training"][0] |= {"t2w": "a_adc.nii.gz", "adc": "a_t2w.nii.gz"}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    check(str(tmp_path / "datalist.json"), str(tmp_path), json=str(tmp_path / "report.json"))
    causes = [p["cause"] for p in json.loads((tmp_path / "report.json").read_text())["problems"]]
    assert "given as t2w, called like adc" in causes
    assert "given as adc, called like t2w" in causes


def test_what_is_missing_on_the_command_line():
    with pytest.raises(ConfigError, match="--bundle alone"):
        check()
    with pytest.raises(ConfigError, match=r"no bundle 'nobody': tried nobody"):
        check(bundle="nobody")

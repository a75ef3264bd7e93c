import numpy as np
from matplotlib.image import imsave

from monai_ext.table.cases import CaseValues
from monai_ext.table.page import write_page
from monai_ext.table.row import Cell

METRICS = [{"metric": "dice", "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 4}]


def folds(folder):
    """Two folds of two patients, evaluated."""
    values = CaseValues()
    for fold, dice in ((0, (0.9, 0.2)), (1, (0.4, 0.7))):
        place = folder / f"fold{fold}_seed0/validation"
        (place / "preview").mkdir(parents=True)
        lines = [f"p{fold}{number},p{fold}{number},{value}" for number, value in enumerate(dice)]
        (place / "cases.csv").write_text("\n".join(["case,patient,dice", *lines]))
        imsave(place / f"preview/p{fold}1.png", np.random.default_rng(0).random((40, 40, 3)))
        values.add("row", Cell(0, fold=fold), place / "cases.csv")
    return values


def test_every_patient_once_worst_first_with_pictures(tmp_path):
    write_page(folds(tmp_path), "row", METRICS, tmp_path, "validation")
    page = (tmp_path / "report.html").read_text()
    assert "4 cases, worst Dice first" in page
    places = [page.index(f"<td>{case}</td>") for case in ("p01", "p10", "p11", "p00")]
    assert places == sorted(places)
    assert page.count("data:image/jpeg") == page.count("data:image/png") == 2
    assert "0.4 to 0.6" in page
    assert "<td>folds</td><td>0, 1</td>" in page


def test_no_page_where_a_case_was_judged_several_times(tmp_path):
    values = folds(tmp_path)
    values.add("row", Cell(1, fold=0), tmp_path / "fold0_seed0/validation/cases.csv")
    write_page(values, "row", METRICS, tmp_path, "validation")
    write_page(values, "another", METRICS, tmp_path, "validation")
    assert not (tmp_path / "report.html").exists()

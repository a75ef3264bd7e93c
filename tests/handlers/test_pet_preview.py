import json

import nibabel
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor

from monai_ext.handlers import LesionReport, PETPreview

AFFINE = np.diag([-4.0, -4.0, 3.0, 1.0])  # LPS, as scanners write
SHAPE = (14, 12, 20)


@pytest.fixture
def figures(monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    return saved


@pytest.fixture
def item(tmp_path):
    """A study in SUV up to 40 whose network saw clipped, coarser volumes; three lesions are found, one is missed."""
    suv = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    pred, truth = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    pred[2:5, 3:6, 15:18] = pred[9:11, 3:5, 10] = pred[6, 9, 3] = 1
    truth[2:5, 3:6, 15:18] = truth[11:13, 8:10, 6:8] = 1
    suv[pred > 0], suv[truth > 0] = 8, 6
    suv[3, 4, 16], suv[12, 9, 7] = 40, 12
    nibabel.save(nibabel.Nifti1Image(suv, AFFINE), tmp_path / "pet.nii.gz")
    half = np.diag([8.0, 8.0, 6.0, 1.0])
    half[:3, 3] = [-50, -42, 1.5]
    image = MetaTensor(torch.zeros(2, 7, 6, 10), affine=torch.from_numpy(half))
    image[0] = torch.linspace(-2, 2, 10)
    image.meta["filename_or_obj"] = str(tmp_path / "pet.nii.gz")
    masks = {"pred": pred, "label": truth}
    masks = {
        key: MetaTensor(torch.from_numpy(mask)[None], affine=torch.from_numpy(AFFINE)) for key, mask in masks.items()
    }
    grid = {"original_affine": torch.from_numpy(AFFINE), "original_shape": torch.tensor(SHAPE)}
    return {"id": "p1", "image": image, **masks, **grid}, suv


def draw(folder, item, **options):
    preview = PETPreview(str(folder), **options)
    preview.draw(preview.shown(item, "p1"), folder / "p1.png")


def axes_of(figure):
    """All axes, those of subfigures included."""
    found = list(figure.axes)
    return {axis.get_title() + axis.get_ylabel(): axis for axis in found} | {"all": found}


def test_projections_show_the_files_suv_as_readers_expect(tmp_path, figures, item):
    draw(tmp_path, item[0])
    axes = axes_of(figures[0])
    coronal, sagittal = axes["coronal projection"], axes["sagittal projection"]
    ras = item[1][::-1, ::-1]
    for axis, along in ((coronal, 1), (sagittal, 0)):
        pixels = np.asarray(axis.images[0].get_array())
        np.testing.assert_allclose(pixels, ras.max(along).T[::-1, ::-1])
        assert pixels.max() == 40  # not clipped
        assert axis.images[0].get_clim() == (0, 10)
        assert axis.get_aspect() == pytest.approx(0.75)
    assert "SUV (g/ml)" in axes
    assert f"truth, {4 * 4 * 3 * (27 + 8) / 1000:.1f} ml" in figures[0].get_suptitle()


def test_lesions_have_the_numbers_and_volumes_of_the_report(tmp_path, figures, item):
    draw(tmp_path, item[0])
    LesionReport(str(tmp_path), probability=None).report(item[0])
    report = json.loads((tmp_path / "p1/p1_lesions.json").read_text())
    lines = next(
        t.get_text()
        for sub in figures[0].findobj()
        if hasattr(sub, "texts")
        for t in sub.texts
        if "MTV" in t.get_text()
    )
    listed = [line.split() for line in lines.splitlines()[1:]]
    for line, lesion in zip(listed, [*report["lesions"], {**report, "number": "all"}]):
        assert line[0] == str(lesion["number"])
        shown = (lesion["volume_ml"], lesion["suv_max"], lesion["suv_peak"], lesion["suv_mean"])
        assert [float(text) for text in line[1:5]] == pytest.approx(shown, abs=0.006)
    assert f"predicted, {report['volume_ml']:.1f} ml" in figures[0].get_suptitle()
    axes = axes_of(figures[0])
    names = [text.get_text() for text in axes["coronal projection"].texts]
    assert names[:3] == ["1", "2", "3"]
    assert f"lesion 1\nslice {report['lesions'][0]['slice']} of 20" in axes
    assert f"lesion 2\nslice {report['lesions'][1]['slice']} of 20" in axes


def test_the_missed_lesion_comes_first(tmp_path, figures, item):
    draw(tmp_path, item[0])
    assert "missed lesion\nslice 8 of 20" in "\n".join(axis.get_ylabel() for axis in figures[0].axes)


def test_ct_is_shown_in_hu_and_fused_and_left_out_where_there_is_none(tmp_path, figures, item):
    draw(tmp_path, item[0], scales={"ct": (-1000, 1000, 100, 50)})
    fused = axes_of(figures[0])["fused, axial"]
    ct, pet = fused.images
    assert ct.get_clim() == (-160, 240)
    assert 0 <= np.asarray(ct.get_array()).min() < np.asarray(ct.get_array()).max() + 1e-6 <= 201
    opacity = np.asarray(pet.get_alpha())
    assert (opacity[np.asarray(pet.get_array()) > 5] > 0.5).all()
    without = {**item[0], "image": item[0]["image"] * 0}
    draw(tmp_path, without)
    assert {"PET, axial", "PET, coronal"} <= set(axis.get_title() for axis in figures[1].axes)
    assert not any("fused" in axis.get_title() for axis in figures[1].axes)


def test_no_slice_of_a_large_lesion_is_shown_twice(tmp_path, figures, item):
    data = item[0]
    data["pred"][:] = 0
    data["pred"][0, 3:10, 2:10, 4:16] = 1
    data["label"][:] = data["pred"]
    draw(tmp_path, data)
    axes = axes_of(figures[0])["all"]
    axial = [axis.get_ylabel().split("slice")[-1] for axis in axes if "slice" in axis.get_ylabel()]
    coronal = [axis.get_xlabel() for axis in axes if "slice" in axis.get_xlabel()]
    assert len(set(axial)) == len(set(coronal)) == len(axial) == len(coronal) == 3


def test_a_case_without_lesions(tmp_path, figures, item):
    draw(tmp_path, {**item[0], "pred": item[0]["pred"] * 0, "label": item[0]["label"] * 0})
    assert "no lesion in truth; no lesion predicted" in figures[0].get_suptitle()

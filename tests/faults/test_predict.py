"""One command from a folder to masks: five bundles, as files, in folders of patients, as an unsorted DICOM export."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_files import write_dicom_series

PATIENTS = 3
# How a scanner calls the series of each modality.
SERIES = {
    "t2w": ("MR", "t2_tse_tra"),
    "adc": ("MR", "ep2d_diff_tra_ADC"),
    "hbv": ("MR", "ep2d_diff_tra_CALC_BVAL"),
    "flair": ("MR", "t2_tirm_tra_dark-fluid"),
    "t1ce": ("MR", "t1_mprage_post"),
    "pet": ("PT", "PET WB AC"),
    "ct": ("CT", "CT AC WB 3.0"),
    "image": ("CT", "Abdomen 1.5"),
}


class Scans:
    """Scans of some patients in three layouts, and the command over them."""

    def __init__(self, bundle, dataset, folder):
        self.bundle, self.root, self.output = bundle, folder / "in", folder / "out"
        self.first = bundle.subject.first
        case = {key: dataset.root / path for key, path in dataset.case.items() if str(path).endswith(".nii.gz")}
        self.source = {key: path for key, path in case.items() if key in SERIES or key == "gland"}
        if bundle.subject.name == "amlp":
            self.source = {key: self.source[key] for key in ("flair", "t1ce")}

    def moved(self, key, patient):
        """A scan of the data set at a place of its own."""
        image = nib.load(self.source[key])
        affine = image.affine.copy()
        affine[2, 3] += 7 * patient
        return nib.Nifti1Image(np.asarray(image.dataobj), affine)

    def write(self, layout):
        for patient in range(PATIENTS):
            for key in self.source:
                getattr(self, layout)(self.moved(key, patient), key, f"p{patient}")

    def files(self, image, key, patient):
        self.root.mkdir(parents=True, exist_ok=True)
        alone = len(self.source) == 1
        nib.save(image, self.root / (f"{patient}.nii.gz" if alone else f"{patient}_{key}.nii.gz"))

    def folders(self, image, key, patient):
        (self.root / patient).mkdir(parents=True, exist_ok=True)
        nib.save(image, self.root / patient / f"{key}.nii.gz")

    def dicom(self, image, key, patient):
        if key in SERIES:  # all in one folder, under names that say nothing
            modality, description = SERIES[key]
            names = {"name": lambda z: f"IM{abs(hash((patient, key, z))):020d}"}
            write_dicom_series(image, self.root / "export", patient, modality, description, **names)

    def words(self, settings=None, source=None):
        given = {"weights": self.bundle.weights, "device": "cpu", "config": self.bundle.overlay} | (settings or {})
        if self.first == "t2w":  # not the gland network that somebody has trained in the bundle's folder
            given = {"gland_weights": self.root / "none.pt"} | given
        if self.bundle.subject.name == "prostate_mae":  # whose small preprocessing has no gland network
            given |= {"preprocessing#gland_network": "@gland_network"}
        source = self.root if source is None else source
        words = ["-m", "monai_ext.predict", "--bundle", self.bundle.subject.name, source, self.output]
        return [str(w) for w in [*words, *(word for key, value in given.items() for word in (f"--{key}", value))]]

    def predict(self, source=None, **settings):
        return self.bundle.command(*self.words(settings, source))

    def table(self):
        with open(self.output / "studies.csv", newline="", encoding="utf-8") as file:
            return {row["id"]: row for row in csv.DictReader(file)}

    def states(self):
        return {case: row["state"] for case, row in self.table().items()}

    def masks(self):
        return {path.parent.name: path.stat().st_mtime_ns for path in self.output.glob("*/*_seg.nii.gz")}


@pytest.fixture
def scans(bundle, dataset, tmp_path):
    return Scans(bundle, dataset, tmp_path)


@pytest.mark.row(41, 42, 43)
@pytest.mark.parametrize("layout", ["files", "folders", "dicom"])
def test_n_studies_in_n_masks_out_on_their_own_grids(scans, layout):
    prostate = scans.first == "t2w"
    scans.write(layout)
    settings = {"dicom_seg": "true"} if layout == "dicom" else {}
    settings |= {"gland": "centre"} if prostate else {}
    run = scans.predict(**settings)
    assert run.returncode == 0, run.output[-3000:]
    ids = [f"p{patient}_20240229" if layout == "dicom" else f"p{patient}" for patient in range(PATIENTS)]
    assert scans.states() == dict.fromkeys(ids, "done")
    assert f"{PATIENTS} studies: {PATIENTS} done" in run.stdout
    for patient, case in enumerate(ids):
        mask = nib.as_closest_canonical(nib.load(scans.output / case / f"{case}_seg.nii.gz"))
        scan = nib.as_closest_canonical(scans.moved(scans.first, patient))
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-3)
        assert (scans.output / case / f"{case}_seg.dcm").exists() == (layout == "dicom")
    if prostate:
        notes = json.loads((scans.output / "report.json").read_text())["notes"]
        assert sorted(notes) == (ids if layout == "dicom" else []), run.output[-3000:]
        for case, row in scans.table().items():
            assert ("stand for the gland" in row["notes"]) == (layout == "dicom"), (
                f"{case}: {row}\n{run.output[-3000:]}"
            )
    before = scans.masks()
    assert scans.predict(**settings).returncode == 0
    assert scans.states() == dict.fromkeys(ids, "kept")
    assert scans.masks() == before


@pytest.mark.row(41)
@pytest.mark.only_for(lambda subject: subject.name == "prostate_mae")
def test_a_prostate_without_gland_stops_unless_its_middle_is_asked_for(scans):
    scans.write("dicom")
    run = scans.predict()
    assert run.returncode == 6
    assert set(scans.states().values()) == {"failed"}
    assert "--gland centre" in run.stdout
    scans.predict(gland="corner").assert_error(2, "--gland must be 'centre' or null, not 'corner'")


@pytest.mark.row(42, 56)
@pytest.mark.only_for(lambda subject: subject.name == "autopet_bixlstm")
def test_series_that_are_not_recognised_are_said_and_can_be_named(scans):
    scans.write("dicom")
    write_dicom_series(scans.moved("ct", 1), scans.root / "more", "p1", "CT", "CT lung B60")
    write_dicom_series(scans.moved("ct", 0), scans.root / "more", "p0", "CT", "Topogram 0.6", lambda z: f"s{z}")
    run = scans.predict()
    assert run.returncode == 6
    assert scans.states() == {"p0_20240229": "done", "p1_20240229": "failed", "p2_20240229": "done"}
    assert "not used: study p0_20240229: CT 'Topogram 0.6'" in run.stdout
    failed = scans.table()["p1_20240229"]
    assert "2 series may be ct" in failed["cause"]
    assert "CT lung B60" in failed["cause"]
    assert "--series 'ct=...'" in failed["remedy"]
    before = scans.masks()
    assert scans.predict(series="ct=AC WB").returncode == 0
    assert {case: time for case, time in scans.masks().items() if case in before} == before
    assert scans.states()["p1_20240229"] == "done"
    scans.predict(series="kt=AC").assert_error(2, "--series names kt; the modalities are pet, ct")


@pytest.mark.row(42, 43)
@pytest.mark.only_for(lambda subject: subject.name == "anatomask")
def test_a_bad_study_other_weights_and_several_processes(scans, tmp_path):
    scans.write("folders")
    broken = scans.root / "p1/image.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-300])
    run = scans.predict(processes=2)
    assert run.returncode == 6, run.output[-3000:]
    assert scans.states() == {"p0": "done", "p1": "failed", "p2": "done"}
    assert f"p1: {broken}: " in run.stdout
    before = scans.masks()
    broken.write_bytes(whole)
    assert scans.predict().returncode == 0
    assert scans.states() == {"p0": "kept", "p1": "done", "p2": "kept"}
    assert {case: time for case, time in scans.masks().items() if case != "p1"} == before
    state = torch.load(scans.bundle.weights, weights_only=True)
    other = tmp_path / "other.pt"
    torch.save({key: value * 1.5 if value.is_floating_point() else value for key, value in state.items()}, other)
    assert scans.predict(weights=other).returncode == 0
    assert set(scans.states().values()) == {"done"}
    both = scans.predict(weights=f"{scans.bundle.weights},{other}", mirror=0, min_ml=1, largest="true")
    assert both.returncode == 0, both.output[-3000:]
    assert set(scans.states().values()) == {"done"}
    assert len(json.loads((scans.output / "report.json").read_text())["ensemble"]) == 2


@pytest.mark.row(28, 55)
@pytest.mark.only_for(lambda subject: subject.name == "anatomask")
def test_wrong_words_and_paths_cost_nothing(scans, tmp_path):
    (tmp_path / "empty").mkdir()
    scans.write("files")
    scans.predict(tmp_path / "none").assert_error(3, tmp_path / "none", "no such file or folder")
    scans.predict(tmp_path / "empty").assert_error(3, tmp_path / "empty", "no study was found")
    scans.predict(miror=0).assert_error(2, "did you mean 'mirror'?")
    scans.predict(proceses=2).assert_error(2, "did you mean --processes?")
    scans.predict(model="x.pt").assert_error(2, "give --weights")
    scans.predict(weights=tmp_path / "none.pt").assert_error(4, tmp_path / "none.pt")
    scans.predict(scans.output).assert_error(2, "INPUT and OUTPUT are one folder")
    assert not scans.output.exists()


@pytest.mark.row(41)
@pytest.mark.only_for(lambda subject: subject.name == "anatomask")
def test_results_beside_the_scans_are_no_scans(scans):
    scans.write("folders")
    scans.output = scans.root / "masks"
    assert scans.predict().returncode == 0
    assert scans.predict().returncode == 0
    assert scans.states() == {f"p{patient}": "kept" for patient in range(PATIENTS)}


@pytest.mark.row(43)
@pytest.mark.only_for(lambda subject: subject.name == "anatomask")
def test_a_datalist_and_one_file_are_inputs(scans, tmp_path):
    scans.write("folders")
    items = [{"id": f"s{patient}", "image": f"in/p{patient}/image.nii.gz"} for patient in range(PATIENTS)]
    (tmp_path / "list.json").write_text(json.dumps({"training": items[:1], "testing": items[1:]}))
    assert scans.predict(tmp_path / "list.json", section="testing").returncode == 0
    assert scans.states() == {"s1": "done", "s2": "done"}
    assert scans.predict(tmp_path / "list.json").returncode == 0
    assert scans.states() == {"s0": "done", "s1": "kept", "s2": "kept"}
    shutil.rmtree(scans.output)
    assert scans.predict(scans.root / "p1/image.nii.gz").returncode == 0
    assert scans.states() == {"p1": "done"}
    scans.predict(tmp_path / "list.json", section="tests").assert_error(3, "no section 'tests'")

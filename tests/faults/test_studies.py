"""Inference over many studies: those that cannot be used are named, all others are done, none is done twice."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from study_sets import LAYOUTS, damage_nifti, volume

STUDIES, BAD = 200, 20
FASTEST = "anatomask"


def masks_below(folder):
    """Masks by id, and when each was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/*_seg.nii.gz")}


def outcome(run, output):
    """Exit code, ids of the failures in the report."""
    assert (output / "report.json").exists(), run.output[-3000:]
    report = json.loads((output / "report.json").read_text())
    named = {failure["id"] for failure in report["failures"]}
    for failure in report["failures"]:
        assert failure["cause"], failure
        assert f"case {failure['id']}: " in run.stderr
    return run.returncode, named


@pytest.mark.slow
@pytest.mark.row(41, 42, 43)
@pytest.mark.only_for(lambda subject: subject.name == FASTEST)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_200_studies_with_20_bad_ones(bundle, tmp_path, layout):
    where, write, damage, name = LAYOUTS[layout]
    rng = np.random.default_rng(0)
    bad = set(rng.choice(STUDIES, BAD, replace=False).tolist())
    data = tmp_path / "data"
    for number in range(STUDIES):
        write(data / where(number), number)
        if number in bad:
            damage(data / where(number), number)
    items = [{"image": str(data / where(number))} for number in range(STUDIES)]
    output = tmp_path / "inference"

    def infer(**settings):
        common = {"datalist": repr(items), "output_dir": output, "model": bundle.weights, "device": "cpu"}
        return bundle.run("inference", "inference.json", common | settings)

    ids = {name(number) for number in range(STUDIES)}
    broken = {name(number) for number in bad}
    first = infer()
    assert outcome(first, output) == (6, broken), first.output[-3000:]
    first.assert_error(6, f"{BAD} of {STUDIES} studies could not be done", *broken)
    masks = masks_below(output)
    assert set(masks) == ids - broken
    for number in set(range(STUDIES)) - bad:
        mask = nib.load(output / name(number) / f"{name(number)}_seg.nii.gz")
        values, affine = volume(number)
        assert mask.shape == values.shape
        np.testing.assert_allclose(mask.affine @ corner_of(mask, affine), affine @ [0, 0, 0, 1], atol=1e-3)
    for number in sorted(set(range(STUDIES)) - bad)[:: STUDIES // 4]:  # the same as of one study alone
        alone = tmp_path / "alone" / name(number)
        assert bundle.infer({"image": str(data / where(number)), "id": "x"}, {"output_dir": alone}).returncode == 0
        one, other = (
            nib.load(path) for path in (alone / "x/x_seg.nii.gz", output / name(number) / f"{name(number)}_seg.nii.gz")
        )
        assert np.array_equal(one.dataobj, other.dataobj)
        assert len(np.unique(one.dataobj)) > 1

    assert outcome(infer(), output) == (6, broken)  # only these are tried again
    assert masks_below(output) == masks

    for number in bad:
        target = data / where(number)
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        write(target, number)
    assert infer().returncode == 0
    repaired = masks_below(output)
    assert set(repaired) == ids
    assert {case for case in ids if repaired[case] != masks.get(case)} == broken

    last = infer()
    assert last.returncode == 0
    assert "all studies are done" in last.stdout
    assert masks_below(output) == repaired

    if layout == "files":
        state = torch.load(bundle.weights, weights_only=True)
        other = tmp_path / "other.pt"
        torch.save({key: value * 1.5 if value.is_floating_point() else value for key, value in state.items()}, other)
        assert infer(model=other).returncode == 0
        assert all(time != repaired[case] for case, time in masks_below(output).items())


def corner_of(mask, affine):
    """Index of the voxel of a mask that lies where the first one of the study does: a file may turn the axes."""
    index = np.linalg.solve(mask.affine, affine @ [0, 0, 0, 1])
    assert all(abs(i) < 1e-3 or abs(i - n + 1) < 1e-3 for i, n in zip(index, mask.shape)), index
    return np.rint(index)


@pytest.fixture
def studies(bundle, dataset, tmp_path):
    """Five copies of a case in folders of patients, files called by their modality alone, and the run over them."""
    source = {key: dataset.root / path for key, path in dataset.case.items() if str(path).endswith(".nii.gz")}
    source = {key: path for key, path in source.items() if key != "label"}

    class Studies:
        def __init__(self):
            self.root, self.output, self.items = tmp_path / "in", tmp_path / "inference", []

        def file(self, number, key=bundle.subject.first):
            return self.root / f"p{number}" / f"{key}.nii.gz"

        def write(self, number):
            for key, path in source.items():
                image = nib.load(path)
                affine = image.affine.copy()
                affine[2, 3] += 7 * number
                self.file(number, key).parent.mkdir(parents=True, exist_ok=True)
                self.file(number, key).unlink(missing_ok=True)
                nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), self.file(number, key))

        def run(self, items=None, **settings):
            given = {"datalist": repr(self.items if items is None else items), "model": bundle.weights}
            return bundle.run("inference", "inference.json", {"output_dir": self.output} | given | settings)

        def origin(self, case):
            return nib.load(self.output / case / f"{case}_seg.nii.gz").affine[2, 3]

    found = Studies()
    for number in range(5):
        found.write(number)
        found.items.append({key: str(found.file(number, key)) for key in source})
    return found


@pytest.mark.row(41, 42)
def test_a_bad_study_in_the_middle_of_each_bundle(bundle, studies):
    damage_nifti(studies.file(2), 14)  # a NaN
    image = nib.load(studies.file(3))
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.complex64), image.affine), studies.file(3))
    run = studies.run()
    assert outcome(run, studies.output) == (6, {"p2", "p3"}), run.output[-3000:]
    masks = masks_below(studies.output)
    assert set(masks) == {"p0", "p1", "p4"}
    origins = [studies.origin(case) for case in sorted(masks)]
    assert np.allclose(np.subtract(origins, origins[0]), [0, 7, 28])
    for number in (2, 3):
        studies.write(number)
    assert studies.run().returncode == 0
    assert set(masks_below(studies.output)) == {f"p{number}" for number in range(5)}
    assert {case: time for case, time in masks_below(studies.output).items() if case in masks} == masks
    if (studies.output / "lesions.csv").exists():
        assert len((studies.output / "lesions.csv").read_text().splitlines()) == 6
    cases = json.loads((studies.output / "report.json").read_text()).get("cases")
    assert cases is None or len(cases) == 5
    assert "all studies are done" in studies.run().stdout


@pytest.mark.row(43)
@pytest.mark.only_for(lambda subject: subject.name == FASTEST)
def test_done_is_this_input_these_weights_these_settings(bundle, studies):
    def written(**settings):
        before = masks_below(studies.output)
        run = studies.run(**settings)
        assert run.returncode == 0, run.output[-3000:]
        return {case for case, time in masks_below(studies.output).items() if before.get(case) != time}

    every = {f"p{number}" for number in range(5)}
    assert written() == every
    assert written() == set()
    assert written(mirror="[0]") == every
    assert written() == every
    studies.write(1)
    nib.save(
        nib.Nifti1Image(np.asarray(nib.load(studies.file(1)).dataobj) + 1, nib.load(studies.file(1)).affine),
        studies.file(1),
    )
    assert written() == {"p1"}
    mask = studies.output / "p4/p4_seg.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-30])
    (studies.output / "p0/p0_seg.record.json").write_text("{")
    assert written() == {"p0", "p4"}
    assert written(redo="true") == every
    studies.run(model=bundle.folder / "none.pt").assert_error(4, bundle.folder / "none.pt", "no such file")


@pytest.mark.row(41)
@pytest.mark.only_for(lambda subject: subject.name == FASTEST)
@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        (("a", "b", "a"), ("case a", "the id occurs 2 times")),
        (("..",), ("begins with a dot",)),
        (("a/../b",), ("holds a slash",)),
        (("",), ("is empty",)),
        (("a\nb",), ("line break",)),
        (("x" * 250,), ("250 bytes",)),
    ],
)
def test_ids_that_could_mix_up_patients_are_refused_before_any_work(studies, ids, parts):
    items = [{**item, "id": case} for item, case in zip(studies.items, ids)]
    run = studies.run(items)
    run.assert_error(
        3,
        *parts,
        *(items[place]["image"] for place in {0, len(ids) - 1}),
        "id of its own" if len(ids) > 1 else "another id",
    )
    assert not masks_below(studies.output)


@pytest.mark.row(41)
@pytest.mark.only_for(lambda subject: subject.name == FASTEST)
def test_the_result_of_another_study_is_not_overwritten(studies):
    assert studies.run([{**studies.items[0], "id": "case"}]).returncode == 0
    before = masks_below(studies.output)
    run = studies.run([{**studies.items[1], "id": "case"}])
    run.assert_error(3, "case case", studies.file(1), "the result of another study", studies.file(0), "--redo true")
    assert masks_below(studies.output) == before
    assert studies.run([{**studies.items[1], "id": "case"}], redo="true").returncode == 0
    assert studies.origin("case") == pytest.approx(7 + nib.load(studies.file(0)).affine[2, 3])


@pytest.mark.slow
@pytest.mark.row(42)
@pytest.mark.only_for(lambda subject: subject.name == FASTEST)
def test_two_processes_end_when_both_are_done(bundle, studies):
    """All studies of the first one are bad, and at once; torchrun would end the second one with it."""
    for number in range(5, 16):
        studies.write(number)
        studies.items.append({key: str(studies.file(number, key)) for key in studies.items[0]})
    for number in range(0, 16, 2):
        damage_nifti(studies.file(number), 14)
    words = bundle.words("inference", "inference.json", {"datalist": repr(studies.items), "model": bundle.weights})
    words += ["--output_dir", str(studies.output)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run = bundle.command(*launcher, *map(str, words))
    assert run.returncode != 0
    assert set(masks_below(studies.output)) == {f"p{number}" for number in range(1, 16, 2)}
    failures = [
        json.loads((studies.output / name).read_text())["failures"] for name in ("report.json", "report.1.json")
    ]
    assert [len(found) for found in failures] == [8, 0]
    assert "8 of 16 studies could not be done" in run.stderr, run.output
    assert re.search(r"exitcode\s*: 6", run.stderr)


@pytest.mark.row(44)
@pytest.mark.only_for(lambda subject: subject.name == FASTEST)
@pytest.mark.parametrize(
    "value",
    ["$__import__('os').system('touch {marker}')", "@bundle_root", "%bundles/anatomask/configs/train.json::imports"],
)
def test_names_in_a_list_on_the_command_line_are_never_evaluated(studies, tmp_path, value):
    marker = tmp_path / "marker"
    run = studies.run([{**studies.items[0], "id": value.format(marker=marker)}])
    run.assert_error(2, "--datalist holds", "would be evaluated")
    run = studies.run([{**studies.items[0], "x": {"_target_": "os.system", "command": f"touch {marker}"}}])
    run.assert_error(2, "--datalist holds '_target_'")
    assert not marker.exists()

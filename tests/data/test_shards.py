import nibabel as nib
import numpy as np
import pytest

from monai_ext.data import unfinished_studies
from monai_ext.data.shards import is_whole


def save(folder, case):
    path = folder / case / f"{case}_seg.nii.gz"
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.random.default_rng(0).integers(0, 9, (20, 20, 20)).astype(np.uint8), np.eye(4)), path)
    return path


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_study_belongs_to_one_process(tmp_path, monkeypatch, size):
    items = [{"id": f"c{i}"} for i in range(7)]
    monkeypatch.setenv("WORLD_SIZE", str(size))
    shares = []
    for rank in range(size):
        monkeypatch.setenv("RANK", str(rank))
        shares.append([item["id"] for item in unfinished_studies(items, tmp_path)])
    assert sorted(case for share in shares for case in share) == [f"c{i}" for i in range(7)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_only_whole_results_count_as_done(tmp_path):
    items = [{"id": name} for name in ("whole", "cut", "empty", "none")]
    save(tmp_path, "whole")
    cut = save(tmp_path, "cut")
    cut.write_bytes(cut.read_bytes()[:-20])
    save(tmp_path, "empty").write_bytes(b"")
    assert [item["id"] for item in unfinished_studies(items, tmp_path)] == ["cut", "empty", "none"]
    damaged = bytearray((tmp_path / "whole/whole_seg.nii.gz").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    cut.write_bytes(damaged)
    assert not is_whole(cut)


def test_items_without_id_are_named_as_the_preprocessing_names_them(tmp_path):
    class Preprocessing:
        def resolve(self, item):
            return {**item, "id": "named"}

    assert unfinished_studies([{"t2w": "a/case_t2w.mha"}], tmp_path, Preprocessing())[0]["id"] == "named"
    save(tmp_path, "named")
    assert unfinished_studies([{"t2w": "a/case_t2w.mha"}], tmp_path, Preprocessing()) == []

from types import SimpleNamespace

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import list_data_collate

from monai_ext.handlers.case_preview import CasePreview


class Kept(CasePreview):
    """Records the pictures that it is asked to draw."""

    def __init__(self, *args):
        super().__init__(*args)
        self.cases = []

    def draw(self, image, pred, truth, spacing, path, title):
        self.cases.append((image, pred, truth, spacing, path, title))


def engine(count, rank=0, ids=True):
    images = [
        MetaTensor(torch.full((2, 3, 4, 5), float(i)), torch.diag(torch.tensor([1.0 + i, 2, 3, 1])))
        for i in range(count)
    ]
    batch = list_data_collate(
        [{"image": image, "label": torch.full((1, 3, 4, 5), i)} for i, image in enumerate(images)]
    )
    if ids:
        batch["id"] = [f"case-{i}" for i in range(count)]
    output = {"image": batch["image"], "pred": torch.arange(count)[:, None, None, None, None].expand(count, 1, 3, 4, 5)}
    return SimpleNamespace(state=SimpleNamespace(output=output, batch=batch, rank=rank))


def test_each_case_comes_with_its_own_image_label_spacing_and_name(tmp_path):
    preview = Kept(str(tmp_path))
    preview(engine(3))
    for i, (image, pred, truth, spacing, path, title) in enumerate(preview.cases):
        assert (image == i).all()
        assert image.shape == (2, 3, 4, 5)
        assert (pred == i).all()
        assert isinstance(truth, np.ndarray)
        assert (truth == i).all()
        assert spacing == [1 + i, 2, 3]
        assert (path, title) == (tmp_path / f"case-{i}.png", f"case-{i}")


def test_stops_after_so_many_cases_over_all_batches_and_names_the_nameless(tmp_path):
    preview = Kept(str(tmp_path), 3)
    for _ in range(3):
        preview(engine(2, ids=False))
    assert [title for *_, title in preview.cases] == ["case0", "case1", "case2"]


def test_one_process_draws(tmp_path):
    preview = Kept(str(tmp_path))
    preview(engine(2, rank=1))
    assert not preview.cases

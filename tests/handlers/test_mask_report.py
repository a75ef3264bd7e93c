import json
import math
from typing import ClassVar

import pytest
import torch
from ignite.engine import Engine

from monai_ext.handlers import MaskReport
from monai_ext.handlers.mask_report import anatomy_by_patch
from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import AnatoMasker
from monai_ext.networks.blocks import mask_to_image, unpatchify

SIZE, PATCH = (16, 16, 16), (4, 4, 4)


class Net(torch.nn.Module):
    """Predicts zeros: the error of a patch against raw intensities is its mean square."""

    masks: ClassVar[list] = []

    def forward(self, image, mask):
        self.masks.append(mask)
        return torch.zeros_like(image)


def batches(count=3, labelled=True):
    """Bright where there is a label: a box that covers eight of the 64 patches."""
    found = []
    for number in range(count):
        label = torch.zeros(2, 1, *SIZE, dtype=torch.uint8)
        label[:, :, 4:12, 8:16, 0:8] = 1 + number
        image = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(number)) * 0.1 + 5 * (label > 0)
        ids = [f"case{number}{i}" for i in range(2)]
        found.append({"image": image, "label": label, "labelled": torch.tensor([labelled] * 2), "id": ids})
    return found


def run(tmp_path, data, **masker):
    net = Net()
    masker = AnatoMasker(PATCH, teacher=net, normalize=False, **masker)
    trainer = Engine(lambda engine, batch: None)
    trainer.state.rank, trainer.state.device = 0, torch.device("cpu")
    MaskReport(str(tmp_path), data, masker, net, MaskedPatchLoss(PATCH), amp=False).attach(trainer)
    trainer.run([0])
    return json.loads((tmp_path / "masks.json").read_text())


def test_share_of_anatomy_by_patch_equals_counting_voxels():
    label = (torch.rand(2, 1, *SIZE) > 0.7).to(torch.uint8) * 3
    mask = torch.rand(2, 64) > 0.5
    hidden = (mask_to_image(mask, SIZE, PATCH) & (label > 0)).sum((1, 2, 3, 4)) / (label > 0).sum((1, 2, 3, 4))
    anatomy = anatomy_by_patch(label, PATCH)
    torch.testing.assert_close((anatomy * mask).sum(1) / anatomy.sum(1), hidden)
    whole = unpatchify(anatomy[..., None].expand(-1, -1, math.prod(PATCH)), PATCH, SIZE)
    torch.testing.assert_close(whole.mean((1, 2, 3, 4)), (label > 0).float().mean((1, 2, 3, 4)))


def test_a_teacher_that_errs_on_anatomy_hides_it(tmp_path):
    Net.masks = []
    report = run(tmp_path, batches())
    metrics = report["metrics"]
    assert report["crops"] == 6
    assert metrics["anatomy_in_all_patches"]["mean"] == pytest.approx(8 / 64)
    # Of a random mask's 38 patches 19 are kept, among them all labelled ones that it hides.
    random, chosen = Net.masks[0], Net.masks[-1]
    assert random.sum(1).tolist() == chosen.sum(1).tolist() == [38, 38]
    hidden = metrics["anatomy_hidden_by_random_masks"]["mean"]
    assert 0.4 < hidden < 0.8
    assert metrics["anatomy_hidden_by_chosen_masks"]["mean"] > hidden
    assert metrics["anatomy_in_hardest_patches"]["mean"] == pytest.approx(hidden * 8 / 19)
    assert metrics["anatomy_in_all_patches"]["groups"] == 6
    assert (tmp_path / "masks.png").stat().st_size > 10_000


def test_low_significance_hides_less(tmp_path):
    low = run(tmp_path / "low", batches(), significance="low")["metrics"]
    assert low["anatomy_in_hardest_patches"]["mean"] < low["anatomy_in_all_patches"]["mean"]
    assert low["anatomy_hidden_by_chosen_masks"]["mean"] < low["anatomy_hidden_by_random_masks"]["mean"] + 0.1


def test_crops_without_labels_do_not_count(tmp_path):
    report = run(tmp_path, batches(labelled=False))
    assert report["crops"] == 0
    assert report["metrics"]["anatomy_in_all_patches"]["n"] == 0
    assert (tmp_path / "masks.png").is_file()

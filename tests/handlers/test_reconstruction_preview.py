from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure

from monai_ext.handlers import ReconstructionPreview
from monai_ext.handlers.reconstruction_preview import reconstruction_panels
from monai_ext.losses import AMLPLoss, MaskedPatchLoss, MaskedVoxelLoss
from monai_ext.maskers import PatchClustering
from monai_ext.networks.blocks import patchify

SIZE, PATCH = 16, (8, 8)


@pytest.fixture
def slices():
    """Three slices; patch 1 (low X, high Y) of each is hidden. The second one holds a lesion."""
    image = torch.randn(3, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[False, True, False, False]]).expand(3, -1)
    label = torch.zeros(3, 1, SIZE, SIZE, dtype=torch.uint8)
    label[1, 0, 2:5, 9:12] = 1
    return image, mask, label


def preview(tmp_path, slices, rank=0, **options):
    image, mask, label = slices
    loss = MaskedPatchLoss(patch_size=PATCH)
    output = {"image": image, "mask": mask, "pred": torch.zeros(3, 4, 64 * 2)}
    batch = {"label": label, "id": ["a", "b", "c"]}
    evaluator = SimpleNamespace(state=SimpleNamespace(output=output, batch=batch))
    handler = ReconstructionPreview(str(tmp_path / "new/picture.png"), evaluator, loss, ["T2W", "ADC"], **options)
    handler(SimpleNamespace(state=SimpleNamespace(rank=rank)))


def test_hidden_pixels_are_not_in_what_the_network_saw(slices):
    image, mask, _ = slices
    panels = reconstruction_panels(image, mask, torch.zeros(3, 4, 128), MaskedPatchLoss(patch_size=PATCH))
    hidden = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    hidden[:8, 8:] = True  # row-major: the patch of the first half of X and the second of Y
    seen, predicted, scaled = (panels[name] for name in list(panels)[1:])
    assert seen.isnan().equal(hidden.expand_as(seen))
    assert predicted.isnan().equal(~hidden.expand_as(predicted))
    assert seen[..., ~hidden].equal(image[..., ~hidden])
    assert scaled[..., ~hidden].equal(image[..., ~hidden])


def test_perfect_prediction_scaled_is_the_input(slices):
    image, mask, _ = slices
    patches = patchify(image, PATCH)
    perfect = (patches - patches.mean(-1, keepdim=True)) / patches.std(-1, keepdim=True)
    panels = reconstruction_panels(image, mask, perfect, MaskedPatchLoss(patch_size=PATCH))
    torch.testing.assert_close(list(panels.values())[-1], image, rtol=1e-4, atol=1e-4)


def test_without_normalised_targets_the_prediction_stands_in_the_image(slices):
    image, mask, _ = slices
    loss = MaskedPatchLoss(patch_size=PATCH, normalize=False)
    panels = reconstruction_panels(image, mask, patchify(image, PATCH), loss)
    assert list(panels) == ["input", "visible to the network", "reconstruction"]
    assert panels["reconstruction"].equal(image)


def test_clusters_are_shown_and_images_are_taken_for_predictions(slices):
    _, mask, _ = slices
    image = torch.full((1, 1, SIZE, SIZE), -2.0)  # air
    image[..., 8:, :] = torch.tensor([1.0, 4.0]).repeat_interleave(8)  # a dark and a bright patch
    image += 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    clusters = PatchClustering(PATCH, foreground="brighter")(image)
    panels = reconstruction_panels(image, mask[:1], image + 1, AMLPLoss(PATCH), clusters)
    assert [name.split()[0] for name in panels] == ["input", "foreground", "visible", "reconstruction"]
    shown = panels[list(panels)[1]][0, 0]
    assert shown[:8].isnan().all()
    assert shown[8:, 8:].equal(image[0, 0, 8:, 8:])
    low = image.min()
    torch.testing.assert_close(shown[8:, :8], low + (image[0, 0, 8:, :8] - low) / 3)
    hidden = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    hidden[:8, 8:] = True
    torch.testing.assert_close(panels["reconstruction"], image + hidden)


def test_picture_shows_the_lesion_first_with_right_on_the_left(tmp_path, slices, monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    slices[0][1, 0] = 0
    slices[0][1, 0, 1, 14] = 9  # low X is the patient's left, high Y anterior: drawn at the right, on top
    preview(tmp_path, slices, num_slices=2)
    axes = saved[0].axes
    assert len(axes) == 2 * 2 * 4
    assert axes[0].get_ylabel() == "b\nT2W"
    shown = np.asarray(axes[0].images[0].get_array())
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    left, bottom = axes[0].transAxes.inverted().transform(axes[0].transData.transform((column, row)))
    assert left > 0.5
    assert bottom > 0.5
    outline = axes[0].collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([outline.min(0), outline.max(0)], [[10.5, 3.5], [13.5, 6.5]])  # (15 - x, 15 - y)
    assert matplotlib.image.imread(tmp_path / "new/picture.png").std() > 0.1


def test_the_batch_with_the_most_lesion_is_drawn(tmp_path, slices, monkeypatch):
    """The batch is one of the last validation, at any position in it."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    image, mask, label = (part[1:2] for part in slices)
    output = {"image": image, "mask": mask, "pred": torch.zeros(1, 4, 64 * 2)}
    sizes = iter([9, 0, 0, 0, 1, 3, 2, 0])
    batches = [{"id": [name]} for name in "abcd"]

    def validate(engine, batch):
        batch["label"] = torch.zeros_like(label)
        batch["label"].view(-1)[: next(sizes)] = 1
        return output

    evaluator = Engine(validate)
    trainer = Engine(lambda engine, batch: evaluator.run(batches))
    trainer.state.rank = 0
    ReconstructionPreview(str(tmp_path / "p.png"), evaluator, MaskedPatchLoss(PATCH), ["T2W", "ADC"]).attach(trainer)
    evaluator.state.metrics = {"r2": 0.25, "r2_T2W": 0.5, "r2_over_nearest": 0.75, "val_loss": 1.0}
    trainer.run([0], max_epochs=2)
    assert saved[0].axes[0].get_ylabel() == "b\nT2W"
    assert saved[0].get_suptitle().startswith("R2 over trivial fills: all 0.25, T2W 0.50\n")


def test_other_ranks_write_nothing(tmp_path, slices):
    preview(tmp_path, slices, rank=1)
    assert list(tmp_path.iterdir()) == []


def test_of_volumes_the_coronal_plane_with_most_lesion_is_drawn(tmp_path, monkeypatch):
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k))[1])
    image = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(2, 1, 16, 16, 16, dtype=torch.uint8)
    label[0, 0, 2:5, 5, 9:12] = 1  # the other one has no lesion
    output = {"image": image, "mask": torch.eye(8, dtype=torch.bool)[:2], "pred": torch.zeros_like(image)}
    evaluator = SimpleNamespace(state=SimpleNamespace(output=output, batch={"label": label, "id": ["a", "b"]}))
    loss = MaskedVoxelLoss((8, 8, 8))
    handler = ReconstructionPreview(str(tmp_path / "p.png"), evaluator, loss, ["PET"], aspect=2)
    handler(SimpleNamespace(state=SimpleNamespace(rank=0)))
    axes = saved[0].axes
    for row, y in ((0, 5), (1, 8)):
        shown = np.asarray(axes[3 * row].images[0].get_array())
        np.testing.assert_array_equal(shown, image[row, 0, :, y].numpy().T[::-1, ::-1])
    reconstruction = np.asarray(axes[2].images[0].get_array())[::-1, ::-1].T
    assert not reconstruction[:8, :8].any()  # block 0 was hidden and is predicted as 0
    assert reconstruction[8:].all()
    assert axes[0].get_aspect() == 2

"""A GPU gives what a CPU gives, no step waits for it, and bfloat16 steps stay finite."""

import contextlib

import numpy as np
import pytest
import torch
from host_syncs import HostSyncs
from phase_steps import PHASES, run_steps

from monai_ext.inferers import SlidingWindow
from monai_ext.losses import (
    AMLPLoss,
    DeepSupervisionLoss,
    FocalCELoss,
    FocalDiceLoss,
    MaskedPatchLoss,
    MaskedVoxelLoss,
    MemoryEfficientDiceCELoss,
)
from monai_ext.maskers import AdaptiveLesionMasker, AnatoMasker, LesionAwareMasker, PatchClustering, RandomMasker
from monai_ext.networks.blocks import VisiblePatches, mlstm_chunkwise, mlstm_parallel
from monai_ext.transforms import BatchAugmentation

pytestmark = pytest.mark.gpu


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hidden(batch, patches, seed=0):
    return RandomMasker(patches, 0.5)({"image": torch.zeros(batch, 1)}, generator=torch.Generator().manual_seed(seed))


LOSSES = {  # with the shape of their images
    "masked patches": (MaskedPatchLoss((8, 8)), (2, 3, 32, 32)),
    "masked voxels": (MaskedVoxelLoss((8, 8, 8)), (2, 2, 16, 16, 16)),
    "AMLP": (AMLPLoss((8, 8)), (2, 1, 32, 32)),
}
SEGMENTATION = {
    "deep supervision": (DeepSupervisionLoss(MemoryEfficientDiceCELoss(batch=True)), 5),
    "focal and Dice": (FocalDiceLoss(), 2),
    "focal cross-entropy": (FocalCELoss(), 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_reconstruction_losses_and_their_gradients(device, name):
    loss, shape = LOSSES[name]
    found = []
    for place in ("cpu", device):
        pred, image = (numbers(*shape, seed=seed).to(place) for seed in (0, 1))
        mask = hidden(2, 8 if name == "masked voxels" else 16).to(place)
        pred.requires_grad_()
        # The coins of AMLP's labels are drawn on the device: without them the loss is a function of its inputs.
        options = {"generator": torch.Generator(place).manual_seed(0)} if name == "AMLP" and device == "cpu" else {}
        part = AMLPLoss((8, 8), consistency_weight=0) if name == "AMLP" and not options else loss
        value = part.to(place)(pred, image, mask, **options)
        value.backward()
        found.append((value.detach().cpu(), pred.grad.cpu()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_segmentation_losses_and_their_gradients(device, name):
    loss, classes = SEGMENTATION[name]
    found = []
    for place in ("cpu", device):
        pred = numbers(2, classes, 16, 16, 8).to(place).requires_grad_()
        label = (numbers(2, 1, 16, 16, 8, seed=1).abs() * 2).long().clamp_max(classes - 1).to(place)
        value = loss.to(place)([pred, pred[..., ::2, ::2, ::2]] if name == "deep supervision" else pred, label)
        value.backward()
        found.append((value.detach().cpu(), pred.grad.cpu()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("masker", "shape", "count"),
    [
        (RandomMasker(16, 0.75), (4, 1, 32, 32), 12),
        (LesionAwareMasker((32, 32), (8, 8), 0.75), (4, 1, 32, 32), 12),
        (AnatoMasker((16, 16, 16), 0.6, lambda image, mask: image * 0, r_start=0.5), (2, 1, 32, 32, 64), 10),
        (AdaptiveLesionMasker(PatchClustering((8, 8)), 0.5), (4, 1, 32, 32), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_masks_are_drawn_on_the_device_and_hide_what_they_should(device, masker, shape, count):
    batch = {"image": numbers(*shape).abs().to(device), "label": (numbers(*shape, seed=1) > 2).to(device)}
    draws = [masker.to(device)(batch, 0.5, torch.Generator(device).manual_seed(seed)) for seed in (0, 0, 1)]
    assert draws[0].device.type == device
    assert draws[0].dtype == torch.bool
    assert torch.equal(draws[0], draws[1])
    assert count is None or not torch.equal(draws[0], draws[2])  # clusters need not leave a choice
    hides = draws[0].sum(1)
    assert (hides == (count if count is not None else hides[0])).all()


def test_clusters_are_the_same(device):
    image = numbers(4, 1, 64, 64).cumsum(2).cumsum(3) / 100
    here, there = (PatchClustering((8, 8)).to(place)(image.to(place)) for place in ("cpu", device))
    assert (here.foreground == there.foreground.cpu()).float().mean() > 0.99


@pytest.mark.parametrize("step", range(8))
def test_augmentation_is_the_same(device, step):
    """Given the same numbers, but for the noise, which each device draws by itself."""
    augment = BatchAugmentation((24, 20, 16), outside="border", deform=(1.0, 3.0))
    image = torch.nn.functional.avg_pool3d(numbers(4, 2, 32, 28, 24), 3, 1, 1)
    label = (image[:, :1] > 0.2).to(torch.uint8)
    drawn = augment.draw((1, 0, step), image.shape)
    drawn.rows.pop("noise", None)
    results = []
    for place in ("cpu", device):
        found = augment.apply(drawn, image.to(place), label.to(place), torch.Generator(place))
        results.append([x.cpu() for x in found])
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-3, rtol=0)
    assert (results[0][1] == results[1][1]).float().mean() > 0.999


def test_visible_patches_and_the_sliding_window_are_the_same(device):
    volume, mask = numbers(2, 3, 24, 16, 32), hidden(2, 48)
    stacked = [VisiblePatches(mask.to(p), (3, 4, 4), 24).stack(volume.to(p)).cpu() for p in ("cpu", device)]
    assert torch.equal(*stacked)
    torch.manual_seed(0)
    network = torch.nn.Conv3d(3, 2, 3, padding=1).eval()
    window = SlidingWindow((12, 16, 16), amp=False)
    found = [window(volume.to(place), network.to(place)).exp().cpu() for place in ("cpu", device)]
    torch.testing.assert_close(found[1], found[0], atol=1e-3, rtol=0)


def test_the_xlstm_in_bfloat16_stays_near_its_fp32_form(device):
    """As the cell runs it under AMP: products in bfloat16, gates and memory in fp32."""
    query, key, value = (numbers(1, 2, 512, 32, seed=seed).to(device) for seed in range(3))
    gates = [numbers(1, 2, 512, seed=seed).to(device) * 2 for seed in (3, 4)]
    exact = mlstm_parallel(*(x.double() for x in (query, key, value, *gates)))
    found = mlstm_chunkwise(*(x.bfloat16() for x in (query, key, value)), *gates)
    assert found.dtype == torch.float32
    error = (found.double() - exact).abs().mean() / exact.abs().mean()
    assert error < 0.01


@contextlib.contextmanager
def no_waiting(device):
    """An error at any call that would wait for the device."""
    if device == "cpu":
        with HostSyncs() as syncs:
            yield
        assert syncs.found == []
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_a_bfloat16_step_is_finite_and_does_not_wait(device, phase):
    steps = run_steps(phase, device, 3, {**phase.small, "amp": True}, inside=no_waiting(device))
    assert np.isfinite(steps.losses).all()

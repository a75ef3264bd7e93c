import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from monai_ext.losses import AMLPLoss, MaskedPatchLoss, relative_error, update_labels
from monai_ext.maskers import PatchClustering
from monai_ext.networks.blocks import patchify, unpatchify

PATCH = (4, 4)


def example(seed=0, count=2, size=16, double=False):
    """Image of dark patches with some bright ones, a noisy reconstruction and a mask of half of the patches."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, 16, 16, generator=generator) * 0.3
    patches[:, ::5] += 2
    image = unpatchify(patches, PATCH, (size, size))
    pred = 0.9 * image + 0.5 * torch.randn(image.shape, generator=generator)
    mask = torch.rand(count, 16, generator=generator).argsort(1) < 8
    return (pred.double() if double else pred), image, mask


def loss_of(mode="soft", **arguments):
    return AMLPLoss(PATCH, PatchClustering(PATCH, ignore_background=False), mode=mode, **arguments)


def coins(seed=3):
    return torch.Generator().manual_seed(seed)


def test_relative_error_is_equation_6():
    error = torch.tensor([[1.0, 2.0, 3.0, 100.0], [0.0, 0.0, 0.0, 7.0]])
    mask = torch.tensor([[True, True, True, False]]).expand(2, 4)
    ratio = relative_error(error, mask)
    assert ratio[0].tolist() == [0.5, 1.0, 1.5, 0.0]  # N L_i / sum L over the masked patches
    assert ratio[1].tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("foreground", "ratio", "expected"), [(1, 1.2, 1.0), (0, 0.8, 0.0), (1, 0.8, 0.5), (0, 1.2, 0.5)]
)
def test_the_four_cases_of_the_label_update(foreground, ratio, expected):
    shape = (100, 100)
    new = update_labels(torch.full(shape, bool(foreground)), torch.full(shape, ratio), coins())
    # The share of ones: certain in the first two cases, a fair coin in the others (5 sigma).
    assert new.float().mean() == pytest.approx(expected, abs=0.025 * (expected == 0.5))


def test_the_coin_is_seeded_and_a_ratio_of_one_is_hard():
    label, ratio = torch.ones(1, 500, dtype=torch.bool), torch.full((1, 500), 0.5)
    first, second, other = (update_labels(label, ratio, coins(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert update_labels(label, torch.ones(1, 500)).all()


def test_attention_gradient_is_that_of_its_formula():
    """Finite differences of mean_i w_i L_i with the weights w_i = L_i / mean L held where they were."""
    pred, image, mask = example()
    loss = loss_of(reconstruction_weight=0.0, consistency_weight=0.0)
    pred.requires_grad_()
    loss(pred, image, mask).backward()

    def formula(p, weight=None):
        error = (patchify(p, PATCH) - patchify(image.double(), PATCH)).square().mean(-1)
        values = [error[b][mask[b]] for b in range(len(image))]
        weight = weight or [v / v.mean() for v in values]
        return sum((w * v).sum() for w, v in zip(weight, values)) / mask.sum(), weight

    point = pred.detach().double()
    value, weight = formula(point)
    assert loss.parts["attention"].item() == pytest.approx(value.item(), rel=1e-5)
    step = 1e-5
    for b, i, j in ((0, 0, 0), (0, 7, 9), (1, 12, 3), (1, 15, 15), (1, 5, 5)):
        shift = torch.zeros_like(point)
        shift[b, 0, i, j] = step
        slope = (formula(point + shift, weight)[0] - formula(point - shift, weight)[0]) / (2 * step)
        assert pred.grad[b, 0, i, j].item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-7)
    hidden = patchify(pred.grad, PATCH).abs().sum(-1) > 0
    assert torch.equal(hidden, mask)


def test_literal_equation_6_would_have_no_gradient():
    pred, image, mask = example()
    pred.requires_grad_()
    error = (patchify(pred, PATCH) - patchify(image, PATCH)).square().mean(-1)
    relative_error(error, mask).sum().backward()
    assert pred.grad.abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["soft", "soft_mismatch"])
def test_consistency_is_the_divergence_of_soft_labels(mode):
    pred, image, mask = example(count=3)
    pred = 0.4 * pred + 0.4  # near the middle between the centroids
    loss = loss_of(mode, reconstruction_weight=0.0, attention_weight=0.0)
    value = loss(pred, image, mask, coins())
    clusters = loss.clustering(image)
    error = (patchify(pred, PATCH) - patchify(image, PATCH)).square().mean(-1)
    target = update_labels(clusters.foreground, relative_error(error, mask), coins())
    terms = []
    for b, i in mask.nonzero().tolist():
        if mode == "soft_mismatch" and target[b, i] == clusters.foreground[b, i]:
            continue
        low, high = clusters.centers[b].double().numpy()
        patches = [patchify(x, PATCH)[b, i].double().numpy() for x in (pred, image)]
        p, q = (
            softmax([-((x - c) ** 2).sum() / ((high - low) ** 2).sum() / 0.1 for c in (low, high)]) for x in patches
        )
        terms.append(entropy(q, p))
    assert 0 < len(terms) <= 24
    assert value.item() == pytest.approx(np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("mode", ["soft", "soft_mismatch"])
def test_consistency_has_a_gradient(mode):
    pred, image, mask = example()
    pred.requires_grad_()
    loss_of(mode, reconstruction_weight=0.0, attention_weight=0.0)(pred, image, mask, coins()).backward()
    assert pred.grad.abs().max() > 1e-4
    assert not (patchify(pred.grad, PATCH).abs().sum(-1) > 0)[~mask].any()


def test_literal_consistency_is_logged_and_has_no_gradient():
    pred, image, mask = example()
    grads = {}
    for weight in (0.0, 1.0):
        pred = pred.detach().requires_grad_()
        loss = loss_of("literal", consistency_weight=weight)
        loss(pred, image, mask, coins()).backward()
        grads[weight] = pred.grad
    assert torch.equal(grads[0.0], grads[1.0])
    assert loss.parts["relabeled"] > 0
    assert loss.parts["consistency"].item() == pytest.approx(23.02585, abs=1e-4)  # -ln 1e-10
    pred = pred.detach().requires_grad_()
    clusters = loss.clustering(image)
    assert not loss.consistency(pred, image, ~clusters.foreground, mask, clusters).requires_grad


def test_equation_8_sums_the_terms():
    pred, image, mask = example()
    loss = loss_of(reconstruction_weight=0.5, attention_weight=2.0, consistency_weight=3.0)
    value = loss(pred, image, mask, coins())
    parts = loss.parts
    expected = 0.5 * parts["reconstruction"] + 2 * parts["attention"] + 3 * parts["consistency"]
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(parts["reconstruction"], MaskedPatchLoss(PATCH, normalize=False)(pred, image, mask))


def test_hardness_is_judged_among_tissue():
    """Masked air, which is reconstructed early, must not make all tissue hard."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.zeros(1, 16, 16)
    patches[:, 8:] = 1 + 0.1 * torch.randn(1, 8, 16, generator=generator)
    patches[:, 12:] += 2
    image = unpatchify(patches, PATCH, (16, 16))
    error = torch.tensor([0.0] * 8 + [0.8, 0.9, 0.8, 0.9, 1.2, 1.1, 1.2, 1.1])  # hard where bright: all labels agree
    pred = unpatchify(patches + error.sqrt()[:, None], PATCH, (16, 16))
    loss = AMLPLoss(PATCH)
    loss(pred, image, torch.ones(1, 16, dtype=torch.bool))
    assert loss.parts["relabeled"] == 0


@pytest.mark.parametrize("mode", ["soft", "soft_mismatch", "literal"])
def test_constant_images_and_perfect_reconstructions_are_finite(mode):
    image = torch.zeros(2, 1, 16, 16)
    image[1] = example()[1][0]
    pred = image.clone().requires_grad_()
    mask = torch.ones(2, 16, dtype=torch.bool)
    loss = AMLPLoss(PATCH, mode=mode)
    value = loss(pred, image, mask)
    value.backward()
    assert value.isfinite()
    assert pred.grad.isfinite().all()
    assert not pred.grad[0].any()


def test_patches_and_half_precision_are_taken():
    pred, image, mask = example()
    value = loss_of()(pred, image, mask, coins())
    torch.testing.assert_close(loss_of()(patchify(pred, PATCH), image, mask, coins()), value)
    half = loss_of()(pred.bfloat16(), image, mask, coins())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(value.item(), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "hard"}, "hard"),
        ({"temperature": 0.0}, "0.0"),
        ({"attention_weight": -1.0}, "-1.0"),
        ({"clustering": PatchClustering((8, 8))}, r"\(8, 8\)"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AMLPLoss(PATCH, **arguments)

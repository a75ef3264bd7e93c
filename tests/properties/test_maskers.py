"""Properties of every masker, for all sizes, ratios and images."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monai_ext.maskers import AdaptiveLesionMasker, AnatoMasker, LesionAwareMasker, PatchClustering, RandomMasker
from monai_ext.maskers.masker import mask_all_but, weighted_sample

FEW = settings(max_examples=40, deadline=None)


@FEW
@given(
    kind=st.sampled_from(["random", "lesion", "adaptive", "anatomask"]),
    grid=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    patch=st.integers(1, 4),
    batch=st.integers(1, 3),
    ratio=st.floats(0.3, 0.8),
    progress=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    flat=st.booleans(),
)
def test_number_shape_and_reproducibility(kind, grid, patch, batch, ratio, progress, seed, flat):
    size, count = [patch * n for n in grid], grid[0] * grid[1]
    kept = int(count * (1 - ratio))
    assume(0 < kept < count)  # anything else is refused
    content = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 1, *size, generator=content) * (not flat) + 0.5
    data = {"image": image, "label": (image > 1.2).to(torch.uint8)}
    if kind == "random":
        masker, expected = RandomMasker(count, ratio), count - kept
    elif kind == "lesion":
        masker, expected = LesionAwareMasker(size, (patch, patch), ratio), count - kept
    elif kind == "adaptive":
        masker = AdaptiveLesionMasker(PatchClustering((patch, patch)), ratio)
        expected = int(np.floor(count * ratio + 1e-6))
    else:
        pixels = patch**2
        masker = AnatoMasker((patch, patch), ratio, lambda image, mask: torch.zeros(batch, count, pixels))
        expected = None
    before = image.clone()
    masks = [masker(data, progress, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert masks[0].dtype == torch.bool
    assert masks[0].shape == (batch, count)
    assert torch.equal(masks[0], masks[1])  # all randomness comes from the generator
    assert torch.equal(image, before)  # a masker never touches the image
    hidden = masks[0].sum(1)
    assert (hidden == hidden[0]).all()
    assert expected is None or hidden[0] == expected
    assert 0 < hidden[0] < count


@FEW
@given(n=st.integers(1, 40), data=st.data())
def test_weighted_sample_draws_without_replacement_and_weight_zero_last(n, data):
    weights = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=n, max_size=n)))[None]
    count = data.draw(st.integers(1, n))
    drawn = weighted_sample(weights, count, torch.Generator().manual_seed(data.draw(st.integers(0, 999))))[0]
    assert len(set(drawn.tolist())) == count
    positive = int((weights > 0).sum())
    assert int((weights[0, drawn] > 0).sum()) == min(count, positive)
    mask = mask_all_but(drawn[None], n)[0]
    assert sorted(drawn.tolist()) == torch.nonzero(~mask)[:, 0].tolist()

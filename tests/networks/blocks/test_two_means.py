import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans

from monai_ext.data.phantoms import generate_brain_mr
from monai_ext.maskers import PatchClustering, two_means
from monai_ext.networks.blocks import patchify


def random_images(count, size=160, seed=0):
    """Smooth random fields of all sizes of structure, with noise.

    White noise has no clusters: there scikit-learn agrees with itself on 65 % of the patches, from seed to seed.
    """
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal((size, size)), rng.uniform(2, 16)) for _ in range(count)]
    images = [f / f.std() + rng.uniform(0, 0.3) * rng.standard_normal(f.shape) for f in fields]
    return torch.tensor(np.stack(images), dtype=torch.float)[:, None]


def phantom_images(directory, count=200, size=160):
    """Axial slices of the brain phantom, each modality alone, clipped to percentiles 1-99 and z-scored inside."""
    (first, second) = generate_brain_mr(directory, num_training=2, num_validation=0, num_testing=0)["training"]
    images = []
    for item, key in itertools.product((first, second), ("t1", "t1ce", "t2", "flair")):
        volume = nib.load(directory / item[key]).get_fdata()[:, 16:176]
        inside = volume[volume > 0]
        volume = volume.clip(0, np.percentile(inside, 99))
        volume = np.where(volume > 0, (volume - inside.mean()) / inside.std(), -3)
        images += [volume[..., k] for k in range(volume.shape[-1]) if volume[..., k].std() > 0]
    images = [images[i] for i in np.linspace(0, len(images) - 1, count).astype(int)]
    return torch.tensor(np.stack(images), dtype=torch.float)[:, None]


def agreement(split, reference):
    """Share of equal labels, whichever of the two clusters is called True."""
    same = (split == reference).mean(-1)
    return np.maximum(same, 1 - same)


def inertia(points, split):
    return sum(((c - c.mean(0)) ** 2).sum() for c in (points[split], points[~split]) if len(c))


@pytest.mark.parametrize("kind", ["random", "phantom"])
def test_labels_are_those_of_scikit_learn(kind, tmp_path):
    images = random_images(200) if kind == "random" else phantom_images(tmp_path)
    clustering = PatchClustering((10, 10))
    points, valid = clustering.patches(images)
    split = torch.cat([two_means(*part) for part in zip(points.split(50), valid.split(50))]).numpy()
    same = total = 0
    for x, use, found in zip(points.numpy(), valid.numpy(), split):
        reference = KMeans(2, n_init=10, random_state=0).fit_predict(x[use]) == 1
        same += agreement(found[use], reference) * use.sum()
        total += use.sum()
    assert len(images) == 200
    assert total > 100 * 200
    assert same / total >= 0.995


def test_splits_are_near_the_optimum_over_all_splits():
    points = torch.randn(40, 9, 2, generator=torch.Generator().manual_seed(0))
    splits = [np.array((True, *bits)) for bits in itertools.product((True, False), repeat=8)]
    found = two_means(points).numpy()
    ratio = [inertia(x, s) / min(inertia(x, t) for t in splits) for x, s in zip(points.numpy(), found)]
    assert min(ratio) > 1 - 1e-5
    assert np.mean(np.array(ratio) < 1 + 1e-5) >= 0.8
    assert np.mean(ratio) < 1.03


def test_result_is_a_fixed_point_of_lloyds_algorithm():
    points = patchify(random_images(20, seed=1), (10, 10))
    for x, split in zip(points, two_means(points)):
        near, far = ((x - x[side].mean(0)).square().sum(1) for side in (split, ~split))
        assert torch.equal(near < far, split)


def test_points_that_are_not_valid_play_no_part():
    points = patchify(random_images(4, seed=2), (10, 10))
    valid = torch.rand(points.shape[:2], generator=torch.Generator().manual_seed(0)) < 0.6
    spoilt = points.masked_fill(~valid[..., None], float("nan"))
    split = two_means(spoilt, valid)
    assert not split[~valid].any()
    for x, use, found in zip(points, valid, split):
        alone = two_means(x[None, use])[0]
        assert agreement(found[use].numpy(), alone.numpy()) == 1


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_equal_points_are_not_split(value):
    assert not two_means(torch.full((2, 16, 5), value)).any()


def test_duplicates_stay_together():
    point = torch.tensor([[0.0, 1.0], [5.0, 2.0], [5.1, 2.0]])
    split = two_means(point[[0, 1, 2] * 5][None])[0].view(5, 3)
    assert (split == split[0]).all()
    assert split[0, 1] == split[0, 2] != split[0, 0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_points(count):
    valid = torch.arange(4) < count
    split = two_means(torch.tensor([[[0.0], [1.0], [2.0], [3.0]]]), valid[None])[0]
    assert split.sum() == (count == 2)

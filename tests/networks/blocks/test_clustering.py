import pickle

import pytest
import torch

from monai_ext.networks.blocks import PatchClustering, clustering, find_air, mask_to_image, patchify

PATCH = (8, 8)


def head(noise=0.05, seed=0):
    """A head of intensity 1 that fills the middle 12x12 of 16x16 patches, with a bright lesion of 3x3 patches."""
    image = noise * torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(seed))
    image[..., 16:112, 16:112] += 1
    lesion = torch.zeros(1, 256, dtype=torch.bool)
    lesion.view(16, 16)[4:7, 6:9] = True
    return image + 1.5 * mask_to_image(lesion, (128, 128), PATCH), lesion


def test_the_smaller_cluster_of_tissue_is_the_foreground():
    image, lesion = head()
    clusters = PatchClustering(PATCH)(image)
    assert torch.equal(clusters.foreground, lesion)
    assert clusters.valid.sum() == 12 * 12


def test_air_takes_the_place_of_the_lesion_unless_it_is_ignored():
    image, lesion = head()
    image = torch.where(image > 2, image - 1.2, image)  # a faint lesion
    assert torch.equal(PatchClustering(PATCH)(image).foreground, lesion)
    foreground = PatchClustering(PATCH, ignore_background=False)(image).foreground
    assert not (foreground & lesion).any()


@pytest.mark.parametrize("level", ["darkest", "mean"])
def test_air_is_found_at_any_level(level):
    image, _ = head(noise=0.05 if level == "darkest" else 0)
    tissue = mask_to_image((patchify(image, PATCH).mean(-1) > 0.5), (128, 128), PATCH)
    textured = image + 0.2 * tissue * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    normalized = (textured - textured[tissue].mean()) / textured[tissue].std()
    if level == "mean":  # z-score over non-zero voxels: air stays at 0
        normalized = torch.where(tissue, normalized, 0)
    patches = patchify(normalized, PATCH)
    air = find_air(patches, torch.ones(1, 256, dtype=torch.bool))
    assert torch.equal(air, ~(patchify(tissue.float(), PATCH).mean(-1) > 0))


def test_a_lesion_that_clipping_made_constant_is_no_air():
    image, lesion = head()
    image = image.clamp(max=1.8)
    assert torch.equal(PatchClustering(PATCH)(image).foreground, lesion)


def test_air_must_be_air_in_every_channel():
    image, _ = head()
    other = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(3)) + 1
    alone = PatchClustering(PATCH).patches(image)[1]
    assert not alone.all()
    assert PatchClustering(PATCH).patches(torch.cat([image, other], 1))[1].all()


@pytest.mark.parametrize("ignore_background", [True, False])
def test_patches_that_are_not_finite_are_left_out(ignore_background):
    image, lesion = head()
    image[0, 0, 40, 60], image[0, 0, 90, 90] = float("nan"), float("inf")
    bad = ~patchify(image, PATCH).isfinite().all(-1)
    clusters = PatchClustering(PATCH, ignore_background=ignore_background)(image)
    assert bad.sum() == 2
    assert not (clusters.valid & bad).any()
    assert clusters.centers.isfinite().all()
    if ignore_background:
        assert torch.equal(clusters.foreground, lesion & ~bad)


@pytest.mark.parametrize("ignore_background", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, float("nan")])
def test_a_constant_image_has_no_foreground(value, ignore_background):
    cluster = PatchClustering(PATCH, ignore_background=ignore_background)
    image = torch.full((1, 1, 64, 64), value)
    clusters = cluster(image)
    assert not clusters.foreground.any()
    assert torch.equal(clusters.margin(cluster.patches(image)[0]), torch.zeros(1, 64))


def test_margin_compares_the_squared_distances():
    image, _ = head(noise=0.5)
    cluster = PatchClustering(PATCH)
    clusters, (patches, _) = cluster(image), cluster.patches(image)
    background, foreground = clusters.centers[0].double()
    d2 = [(patches[0].double() - c).square().sum(-1) for c in (background, foreground)]
    expected = (d2[0] - d2[1]) / (foreground - background).square().sum()
    torch.testing.assert_close(clusters.margin(patches)[0].double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(clusters.margin(clusters.centers), torch.tensor([[-1.0, 1.0]]))
    assert torch.equal((clusters.margin(patches) > 0) & clusters.valid, clusters.foreground)
    # The same in any unit of intensity.
    torch.testing.assert_close(cluster(1e3 * image).margin(1e3 * patches), clusters.margin(patches))


def test_an_image_is_clustered_once(monkeypatch):
    calls = []
    original = clustering.two_means
    monkeypatch.setattr(clustering, "two_means", lambda *args: calls.append(1) or original(*args))
    cluster = PatchClustering(PATCH)
    image, _ = head()
    first = cluster(image)
    assert cluster(image) is first
    cluster(image.clone())
    assert len(calls) == 2
    cluster(image)
    image[..., 64:, 64:] *= 4
    changed = cluster(image)
    assert len(calls) == 4
    assert not torch.equal(changed.foreground, first.foreground)


def test_it_can_be_pickled_after_use():
    image, lesion = head()
    cluster = PatchClustering(PATCH)
    cluster(image)
    assert torch.equal(pickle.loads(pickle.dumps(cluster))(image).foreground, lesion)


@pytest.mark.parametrize("method", ["kmeans", "hierarchical", "tsne", "dbscan"])
def test_every_method_finds_a_distinct_lesion(method):
    image, lesion = head(noise=0.1)
    clusters = PatchClustering(PATCH, method=method)(image)
    found = clusters.foreground
    assert (found & lesion).sum() == lesion.sum()
    # t-SNE has no use for distances, and DBSCAN gives patches of low density to the foreground.
    assert (found & ~lesion).sum() <= (72 if method in ("tsne", "dbscan") else 0)
    empty = PatchClustering(PATCH, method=method, ignore_background=False)(torch.zeros(1, 1, 64, 64))
    assert not empty.foreground.any()


def test_the_foreground_by_brightness():
    """Two dark thirds or two bright thirds of the tissue, in a random texture."""
    texture = 0.1 * torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    dark = torch.zeros(1, 144, dtype=torch.bool)
    for rows, smaller_is_bright in ((8, True), (4, False)):
        dark.view(12, 12)[:rows], dark.view(12, 12)[rows:] = True, False
        image = 2 + texture - mask_to_image(dark, (96, 96), PATCH).float()
        smaller, brighter = (
            PatchClustering(PATCH, ignore_background=False, foreground=name)(image) for name in ("smaller", "brighter")
        )
        assert torch.equal(brighter.foreground, ~dark)
        assert torch.equal(smaller.foreground, ~dark if smaller_is_bright else dark)
    nothing = PatchClustering(PATCH, ignore_background=False, foreground="brighter")(torch.ones(1, 1, 64, 64))
    assert not nothing.foreground.any()


@pytest.mark.parametrize("argument", [{"method": "spectral"}, {"foreground": "larger"}])
def test_unknown_names(argument):
    with pytest.raises(ValueError, match=next(iter(argument.values()))):
        PatchClustering(PATCH, **argument)

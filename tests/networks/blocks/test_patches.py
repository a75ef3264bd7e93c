import pytest
import torch

from monai_ext.networks.blocks import mask_to_image, patchify, unpatchify


@pytest.mark.parametrize(("img_size", "patch_size"), [((8, 12), (4, 2)), ((4, 6, 8), (2, 3, 4))])
def test_patches_are_the_image_cut_row_by_row(img_size, patch_size):
    image = torch.randn(2, 3, *img_size)
    patches = patchify(image, patch_size)
    grid = [s // p for s, p in zip(img_size, patch_size)]
    for n in range(patches.shape[1]):
        at = torch.unravel_index(torch.tensor(n), grid)
        window = tuple(slice(int(i) * p, (int(i) + 1) * p) for i, p in zip(at, patch_size))
        assert torch.equal(patches[1, n], image[1][(slice(None), *window)].movedim(0, -1).flatten())
    assert torch.equal(unpatchify(patches, patch_size, img_size), image)


def test_mask_covers_its_patches():
    mask = torch.tensor([[True, False, False, True, False, True]])
    image = mask_to_image(mask, (4, 6), (2, 2))
    assert torch.equal(patchify(image, (2, 2)), mask[..., None].expand(-1, -1, 4))


def test_image_that_is_no_whole_number_of_patches_is_refused():
    with pytest.raises(ValueError, match=r"\(9, 8\)"):
        patchify(torch.zeros(1, 1, 9, 8), (4, 4))

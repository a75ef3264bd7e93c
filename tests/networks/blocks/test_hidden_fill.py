import torch

from monai_ext.networks.blocks import HiddenFill


def test_hidden_voxels_are_the_channels_token_and_no_others_change():
    fill = HiddenFill(2, value=-3.0)
    with torch.no_grad():
        fill.token[1] = 5
    image = torch.randn(3, 2, 4, 4, 4)
    hidden = torch.rand(3, 1, 4, 4, 4) < 0.5
    seen = fill(image, hidden)
    expected = image.clone()
    expected[:, 0][hidden[:, 0]] = -3
    expected[:, 1][hidden[:, 0]] = 5
    assert torch.equal(seen, expected)
    assert fill(image.bfloat16(), hidden).dtype == torch.bfloat16


def test_the_token_learns_from_hidden_voxels_alone():
    fill = HiddenFill(2)
    hidden = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    hidden[..., 0] = True
    (fill(torch.randn(1, 2, 2, 2), hidden) * torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)).sum().backward()
    assert fill.token.grad.tolist() == [2, 6]

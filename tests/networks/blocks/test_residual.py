import pytest
import torch
import torch.nn.functional as F

from monai_ext.networks.blocks import ResidualBlock, residual_stage


@pytest.mark.parametrize(("stride", "size"), [(1, (6, 5, 4)), (2, (3, 3, 2)), ((1, 2, 2), (6, 3, 2))])
def test_shape(stride, size):
    assert ResidualBlock(3, 8, stride)(torch.randn(2, 3, 6, 5, 4)).shape == (2, 8, *size)


def test_plain_block_adds_its_input():
    block = ResidualBlock(4, 4, project=False)
    torch.nn.init.zeros_(block.norm2.weight)
    x = torch.randn(2, 4, 5, 5, 5)
    torch.testing.assert_close(block(x.clone()), F.leaky_relu(x, 0.01))


def test_projecting_block_adds_its_projected_input():
    block = ResidualBlock(4, 6, 2)
    torch.nn.init.zeros_(block.norm2.weight)
    x = torch.randn(2, 4, 5, 5, 5)
    projected = torch.einsum("oi,bixyz->boxyz", block.shortcut.weight.flatten(1), x[:, :, ::2, ::2, ::2])
    projected = projected + block.shortcut.bias[:, None, None, None]
    torch.testing.assert_close(block(x), F.leaky_relu(projected, 0.01))


def test_stage_projects_once():
    stage = residual_stage(4, 4, 3, stride=2)
    assert [isinstance(block.shortcut, torch.nn.Conv3d) for block in stage] == [True, False, False]


def test_a_change_of_shape_needs_a_projection():
    for arguments in ((4, 6, 1), (4, 4, 2), (4, 4, (1, 1, 2))):
        with pytest.raises(ValueError, match="needs a projection"):
            ResidualBlock(*arguments, project=False)

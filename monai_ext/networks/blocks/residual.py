"""Residual convolution block of nnU-Net style networks, in 3-D."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["ResidualBlock", "residual_stage"]


class ResidualBlock(nn.Module):
    """conv-norm-act-conv-norm, plus the input or a 1x1x1 convolution of it, then act.

    3x3x3 convolutions with bias, instance norm with learned scale, leaky ReLU of slope 0.01.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution and of the shortcut.
        project: True makes the shortcut a convolution; without it input and output must have the same shape.

    Raises:
        ValueError: when the shape changes and there is no projection.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int | Sequence[int] = 1, project: bool = True
    ) -> None:
        super().__init__()
        a, b, c = (stride,) * 3 if isinstance(stride, int) else stride
        steps = (a, b, c)
        if not project and (in_channels != out_channels or steps != (1, 1, 1)):
            raise ValueError(f"{in_channels} to {out_channels} channels with stride {steps} needs a projection")
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride=steps, padding=1)
        self.norm1 = nn.InstanceNorm3d(out_channels, affine=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(out_channels, affine=True)
        self.shortcut = nn.Conv3d(in_channels, out_channels, 1, stride=steps) if project else nn.Identity()
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, *spatial]`` -> ``[B, out_channels, *(spatial / stride, rounded up)]``."""
        y = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        return self.act(y + self.shortcut(x))


def residual_stage(
    in_channels: int, out_channels: int, num_blocks: int, stride: int | Sequence[int] = 1
) -> nn.Sequential:
    """One projecting block, possibly with a stride, and ``num_blocks - 1`` plain ones."""
    plain = [ResidualBlock(out_channels, out_channels, project=False) for _ in range(num_blocks - 1)]
    return nn.Sequential(ResidualBlock(in_channels, out_channels, stride), *plain)

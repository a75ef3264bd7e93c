"""Several networks that are trained side by side and judge together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_ext.networks.blocks.scriptable import Scriptable

__all__ = ["DeepEnsemble", "deep_ensemble", "mean_scores", "members_of"]


class DeepEnsemble(Scriptable):
    """Copies of a network, each with initial weights and training items of its own, and their mean opinion.

    Networks that were trained apart from each other err in different places: the mean of their probabilities is better
    than any of them, and better calibrated (Lakshminarayanan et al., Simple and scalable predictive uncertainty
    estimation using deep ensembles, NeurIPS 2017). With few labels this gains more than as much time for one network.
    In training each member sees its own part of the batch, so a step costs what it costs one network with that batch.
    Items are dealt in turn: those that must show foreground stand together at a batch's end, and each member gets some.

    Args:
        network: the first member. The others are copies whose weights (all but biases, norms and what is not trained)
            are put into another random order, which draws them anew from the distribution that they were drawn from.
        members: their number.

    Shape:
        - Input: (batch, channels, *spatial); in training at least as many items as members.
        - Output: what the network returns, in training of one member for each item; else a tensor whose softmax is the
          mean of the members' probabilities.

    Raises:
        ValueError: fewer than one member; in training, a batch with fewer items than members.

    Example:
        >>> network = DeepEnsemble(nn.Conv2d(1, 2, 1), 3).eval()
        >>> network(torch.zeros(4, 1, 8, 8)).shape
        torch.Size([4, 2, 8, 8])
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        super().__init__()
        if members < 1:
            raise ValueError(f"an ensemble has at least one member, got {members}")
        self.members = nn.ModuleList([network, *(_drawn_anew(network) for _ in range(members - 1))])

    @property
    def example_size(self) -> tuple[int, ...]:
        """That of the members."""
        return self.members[0].example_size  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Any:
        """Run the members over their parts of the batch in training, over all of it else."""
        if not self.training:
            return mean_scores([member(x) for member in self.members])
        if len(x) < len(self.members):
            raise ValueError(
                f"a batch of {len(x)} cannot be shared by {len(self.members)} members: raise batch_size, or set "
                "iterations, so that each batch is full"
            )
        outputs = [member(x[place :: len(self.members)]) for place, member in enumerate(self.members)]
        if isinstance(outputs[0], Tensor):
            return _interleave(outputs)
        return [_interleave(level) for level in zip(*outputs)]  # deep supervision


def mean_scores(scores: Sequence[Tensor]) -> Tensor:
    """Class scores ``[B, C, *spatial]`` whose softmax is the mean of the probabilities of several; fp32."""
    return torch.stack([each.float().log_softmax(1) for each in scores]).logsumexp(0)


def deep_ensemble(network: nn.Module, members: int) -> nn.Module:
    """An ensemble of so many networks; the network itself where it is one."""
    return network if members == 1 else DeepEnsemble(network, members)


def members_of(network: nn.Module) -> list[nn.Module]:
    """The networks of an ensemble, or the one network, which may be wrapped for several devices."""
    network = getattr(network, "module", network)
    return list(network.members) if isinstance(network, DeepEnsemble) else [network]


def _interleave(parts: Sequence[Tensor]) -> Tensor:
    """Items that were dealt to the parts in turn, in their order before."""
    if len(parts[0]) == len(parts[-1]):
        return torch.stack(list(parts), dim=1).flatten(0, 1)
    count = sum(map(len, parts))
    dealt = [item for place in range(len(parts)) for item in range(place, count, len(parts))]
    return torch.cat(list(parts))[sorted(range(count), key=dealt.__getitem__)]


@torch.no_grad()
def _drawn_anew(network: nn.Module) -> nn.Module:
    """A copy with the elements of each trained matrix or kernel in another order."""
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            order = torch.randperm(parameter.numel()).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return network

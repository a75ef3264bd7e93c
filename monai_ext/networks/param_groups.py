"""Parameter groups of an optimizer."""

from __future__ import annotations

from typing import Any

from torch import nn

from monai_ext.networks.deep_ensemble import members_of

__all__ = ["param_groups"]


def param_groups(network: nn.Module, weight_decay: float, lrs: dict[str, float] | None = None) -> list[dict[str, Any]]:
    """Parameter groups without weight decay on biases, norms and other vectors, with a learning rate per network part.

    Args:
        network: network whose parameters are grouped; it may be wrapped for several devices.
        weight_decay: weight decay of all other parameters.
        lrs: learning rate by name of the part, the first component of a parameter's name, in an ensemble within its
            members; the part ``""`` holds the
            rest, which otherwise takes the optimizer's.

    Returns:
        Groups for a torch optimizer. Parameters that do not require a gradient now are in them too, so that a frozen
        part can be unfrozen later.

    Raises:
        ValueError: when a part has no parameter.
    """
    lrs = lrs or {}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in (pair for member in members_of(network) for pair in member.named_parameters()):
        part = name.split(".")[0]
        groups.setdefault((part if part in lrs else "", parameter.ndim > 1), []).append(parameter)
    empty = set(lrs) - {part for part, _ in groups}
    if empty:
        raise ValueError(f"no parameter of the network belongs to {sorted(empty)}")
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0}
        | ({"lr": lrs[part]} if part in lrs else {})
        for (part, decays), parameters in groups.items()
    ]

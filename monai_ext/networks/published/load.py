"""Load published weights into a network of this package."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from monai_ext.errors import CheckpointError
from monai_ext.networks.published.architecture import Architecture, find_architecture
from monai_ext.networks.published.formats import PublishedWeights, read_published
from monai_ext.networks.published.hub import find_entry, find_file, is_named
from monai_ext.networks.weights import WeightReport

__all__ = ["is_published", "load_published", "repeat_channels"]

logger = logging.getLogger(__name__)

# The convolutions that see the image: of ResEnc, and of STU-Net with its shortcut.
FIRST = ("encoder.stem.convs.0.conv.weight", "encoder.stages.0.0.conv1.weight", "encoder.stages.0.0.skip.weight")


def is_published(source: object) -> bool:
    """Whether ``source`` names published weights, or is a file of one of their formats."""
    return is_named(source) or (Path(str(source)).is_file() and read_published(str(source)).format != "plain")


def repeat_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution for more input channels: repeated along them and divided by the number of repetitions.

    Equal channels then give the features of one. It is the rule by which nnU-Net fine-tunes from nnssl, there for one
    channel only; AnatoMask's authors repeat without dividing, which doubles what the first layer sees.

    Args:
        weight: ``[out, in, *kernel]``.
        channels: of the new input.

    Returns:
        ``[out, channels, *kernel]``.

    Raises:
        CheckpointError: when ``channels`` is no multiple of the old number.
    """
    times, rest = divmod(channels, weight.shape[1])
    if rest or not times:
        raise CheckpointError(f"weights for {weight.shape[1]} channels cannot be repeated to {channels}")
    return weight.repeat(1, times, *(1,) * (weight.ndim - 2)) / times


def load_published(
    network: nn.Module, source: str | Path, part: str = "encoder", min_share: float = 0.8, stem: str = ""
) -> WeightReport:
    """Load a published encoder.

    Args:
        network: takes the weights, in place: :class:`ResidualEncoderUNet`, :class:`STUNet` or their masked pretraining.
        source: see :func:`find_file`.
        part: only parameters whose name begins with ``part.`` are asked for; empty asks for all, as is usual for
            STU-Net, whose decoder was trained too.
        min_share: smallest share of the parameters asked for that must match. What the published architecture has not
            (an xLSTM block) does not count.
        stem: see :func:`read_published`.

    Returns:
        What matched, what the network misses and what the file has besides; logged too.

    Raises:
        CheckpointError: when the weights are of another architecture, cannot be had or read, or too little matches.
        ConfigError: when ``source`` or ``stem`` names nothing.
    """
    network = getattr(network, "module", network)
    own = network.state_dict()
    wanted = find_architecture(own)
    wanted = wanted if wanted.family != "unknown" else Architecture(type(network).__name__)
    entry = find_entry(source)
    if entry is not None and not str(wanted).startswith(entry.architecture):  # before anything is downloaded
        raise _other(source, entry.architecture, wanted)
    weights = read_published(find_file(source), stem)
    _check_architecture(weights, wanted)
    state = _with_channels(weights, own)
    prefix = f"{part}." if part else ""
    target = {name for name in own if name.startswith(prefix)}
    matched = {name: state[name] for name in target if name in state and state[name].shape == own[name].shape}
    report = WeightReport(sorted(matched), sorted(target - matched.keys()), sorted(state.keys() - matched.keys()))
    due = [name for name in target if ".xlstm." not in name]
    if not matched or len(matched) < min_share * len(due):
        raise CheckpointError(f"{weights.file}: only {len(matched)} of {len(due)} parameters match; {report}")
    network.load_state_dict(matched, strict=False)
    facts = "".join(f"; {name} {value}" for name, value in weights.pretraining.items())
    logger.info("%s (%s, %s): %s%s", source, wanted, weights.format, report, facts)
    return report


def _check_architecture(weights: PublishedWeights, wanted: Architecture) -> None:
    found = find_architecture(weights.state)
    if weights.architecture and not weights.architecture.endswith(("ResEncL", "ResidualEncoderUNet")):
        found = Architecture(weights.architecture)
    if not found.fits(wanted):
        raise _other(weights.file, str(found), wanted)


def _other(source: object, found: str, wanted: Architecture) -> CheckpointError:
    return CheckpointError(
        f"{source}: the weights are of {found}, the network is {wanted}. Take weights of that network, or the network "
        "of these weights (configs/variants/resenc_l.json, or size for STU-Net)"
    )


def _with_channels(weights: PublishedWeights, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with its first convolutions for as many channels as the network's."""
    state = dict(weights.state)
    for name in FIRST:
        if name in state and name in own and state[name].shape[1] != own[name].shape[1]:
            try:
                state[name] = repeat_channels(state[name], own[name].shape[1])
            except CheckpointError as error:
                raise CheckpointError(f"{weights.file}: {error}") from error
            logger.info("%s: %s repeated to %d channels and divided", weights.file, name, own[name].shape[1])
    return state

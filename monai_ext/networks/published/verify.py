"""Whether a file of published weights is read right: what matched, and what the encoder makes of a phantom."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from monai_ext.errors import CheckpointError
from monai_ext.networks.nets.residual_encoder_unet import ResidualEncoder
from monai_ext.networks.nets.stunet import STUNetEncoder
from monai_ext.networks.published.architecture import find_architecture
from monai_ext.networks.published.entry import PublishedEncoder
from monai_ext.networks.published.formats import read_published
from monai_ext.networks.published.load import load_published

__all__ = ["describe_features", "phantom_volume", "verify_published"]


def phantom_volume(size: int = 64) -> Tensor:
    """A volume of three balls with a fine pattern, of zero mean and unit deviation: ``[1, 1, size, size, size]``.

    It is arithmetic alone, so that it is the same on every machine.
    """
    axes = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, size, dtype=torch.float64),) * 3, indexing="ij"))
    volume = torch.zeros((size,) * 3, dtype=torch.float64)
    for (x, y, z), radius, value in (((0, 0, 0), 0.8, 1.0), ((0.2, -0.1, 0.1), 0.4, 0.6), ((-0.3, 0.3, 0), 0.2, -0.8)):
        centre = torch.tensor([x, y, z], dtype=torch.float64)[:, None, None, None]
        volume += value * ((axes - centre).square().sum(0) < radius**2)
    volume += 0.1 * (volume > 0) * (9 * axes).sin().prod(0)
    return ((volume - volume.mean()) / volume.std()).float()[None, None]


def build_encoder(entry: PublishedEncoder, stages: int) -> nn.ModuleDict:
    """The encoder of an entry's architecture, under the name that its weights have in a network."""
    if entry.architecture == "ResEnc-L":
        return nn.ModuleDict({"encoder": ResidualEncoder(entry.in_channels)})
    strides = [(2, 2, 2)] * 4 + [(1, 1, 1)]  # SparK pretrains the last stage or leaves it out
    size = entry.architecture.removeprefix("STU-Net-")
    return nn.ModuleDict({"encoder": STUNetEncoder(entry.in_channels, size, strides[: max(stages, 2) - 1])})


@torch.no_grad()
def describe_features(encoder: nn.Module, image: Tensor) -> list[tuple[float, float, float]]:
    """Mean, standard deviation and share of constant channels of the features of every stage, finest first."""
    found = []
    for features in encoder.eval()(image):
        channels = features.double().flatten(2)
        found.append((channels.mean().item(), channels.std().item(), (channels.std(2) < 1e-6).double().mean().item()))
    return found


def verify_published(entry: PublishedEncoder, file: str | Path) -> str:
    """Read a file as the register says it is, run it on a phantom, and say what was seen.

    Args:
        entry: of the register.
        file: on the disk.

    Returns:
        A text: format, share matched, what the file says of its pretraining beside what the register says, the features
        of every stage, the hash.

    Raises:
        CheckpointError: when it is another network, does not match wholly, was never trained, or its features are not
            finite, constant, or other than those recorded.
    """
    weights = read_published(file)
    network = build_encoder(entry, len(find_architecture(weights.state).widths))
    report = load_published(network, file, min_share=1.0)
    lines = [f"{file}: {weights.format}, {entry.architecture}", f"encoder: {report}"]
    lines += [f"file says: {name} {value}" for name, value in weights.pretraining.items()]
    expected = {"spacing": entry.spacing, "normalization": entry.normalization, "patch": entry.patch}
    lines += [f"register says: {name} {value}" for name, value in expected.items() if value]
    problems = []
    scales = [p for name, p in network.named_parameters() if "norm" in name and name.endswith("weight")]
    if all(((p == 1) | (p == 0)).all() for p in scales):
        problems.append("every norm is as it starts: these weights were never trained")
    statistics = describe_features(network["encoder"], phantom_volume().repeat(1, entry.in_channels, 1, 1, 1))
    for stage, (mean, deviation, constant) in enumerate(statistics):
        lines.append(f"stage {stage}: mean {mean:.5f}, deviation {deviation:.5f}, constant channels {constant:.1%}")
        if not 1e-3 < deviation < 1e3 or constant > 0.5:
            problems.append(f"the features of stage {stage} are not those of a trained network")
    for stage, ((mean, deviation), (m, s, _)) in enumerate(zip(entry.statistics, statistics)):
        if max(abs(mean - m), abs(deviation - s)) > 1e-3 * deviation:
            problems.append(f"stage {stage} had mean {mean:.5f} and deviation {deviation:.5f} when it was recorded")
    digest = _digest(Path(file))
    known = f"the one reported is {entry.sha256}" if entry.sha256 else "none reported"
    lines.append(f"sha256 {digest} ({'as reported' if digest == entry.sha256 else known})")
    if problems:
        raise CheckpointError(f"{file}: {'; '.join(problems)}. Download it again, and compare the sha256 {digest}")
    seen = "the recorded ones" if entry.statistics else "plausible (nobody has reported those of the real file yet)"
    return "\n".join([*lines, f"read right: every parameter of the encoder matched; its features are {seen}"])


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()

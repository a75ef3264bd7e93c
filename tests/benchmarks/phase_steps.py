"""The training steps of the bundles' own configs, on random batches: no data set is read.

    for phase in PHASES: run_steps(phase, "cuda", steps=5)

A phase is built from its config by MONAI's parser, as a run builds it: network, masker, loss, optimizer and trainer
with the sizes that the config names. Only the loader and the handlers are replaced.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser

import monai_ext.engines  # noqa: F401  (configs name its classes)

BUNDLES = Path(__file__).parents[2] / "bundles"


@dataclass(frozen=True)
class Phase:
    """A phase whose steps are measured.

    Args:
        bundle: name of the bundle.
        config: name of the config.
        image: expression of the config for the shape ``[C, *spatial]`` of an item.
        classes: expression for the number of label values.
        domain: whether an item has a ``domain`` instead of a label.
        handlers: handlers of the config without which a step is not the method's.
        settings: settings that a run on a GPU has.
        small: settings that make the step small enough for a test on a CPU.
    """

    bundle: str
    config: str
    image: str
    classes: str = "$2"
    domain: bool = False
    handlers: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.bundle} {self.config}"


UNET = {"crop_size": [32, 32, 32], "channels": [4, 8, 8], "strides": [1, 2, 2], "batch_size": 2}
PHASES = [
    Phase("prostate_mae", "pretrain", "$[3, @img_size, @img_size]", small={"batch_size": 4}),
    Phase("prostate_mae", "train", "$[3, @img_size, @img_size]", small={"batch_size": 2}),
    Phase(
        "amlp", "pretrain", "$[len(@modalities), *@img_size]",
        small={"img_size": [64, 64], "features": [4, 4, 8, 8, 8], "batch_size": 2},
    ),
    Phase(
        "amlp", "train", "$[len(@modalities), *@img_size]", settings={"augment": True},
        small={"img_size": [64, 64], "features": [4, 4, 8, 8, 8], "batch_size": 2},
    ),
    Phase(
        "anatomask", "pretrain", "$[len(@modalities), *@crop_size]", handlers=("@ema",),
        small={"crop_size": [32, 32, 32], "model_size": [4, 1], "batch_size": 2},
    ),
    Phase(
        "anatomask", "train", "$[len(@modalities), *@crop_size]", "@num_classes",
        small={"crop_size": [32, 32, 32], "model_size": [4, 1], "batch_size": 2},
    ),
    Phase("autopet_bixlstm", "pretrain", "$[4 if @clicks else 2, *@crop_size]", small={**UNET, "patch_size": 8}),
    Phase(
        "autopet_bixlstm", "train", "$[4 if @clicks else 2, *(int(1.25 * n) for n in @crop_size)]",
        small=UNET,
    ),
    Phase(
        "adunet_anomaly", "reconstruct", "$[1, @img_size, @img_size]", domain=True,
        small={
            "img_size": 32, "batch_size": 2, "d_train_steps": 2, "generator_options": {"channels": 4},
            "discriminator_options": {"channels": 4, "num_layers": 3},
        },
    ),
    Phase(
        "adunet_anomaly", "train", "$[3 + len(@map_modalities), *@crop_size]",
        small={
            "crop_size": [32, 32, 16], "batch_size": 2, "map_modalities": ["adc"],
            "channels": [4, 8, 8], "strides": [1, 2, 2],
        },
    ),
]  # fmt: skip


def phase_named(name: str) -> Phase:
    """The phase ``"<bundle> <config>"``."""
    return next(phase for phase in PHASES if phase.name == name)


def parse(phase: Phase, device: str, settings: Mapping[str, Any] | None = None) -> ConfigParser:
    """The phase's config for ``device``, with settings changed; nothing is evaluated yet."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / phase.bundle / "configs" / f"{phase.config}.json"))
    parser["bundle_root"] = str(BUNDLES / phase.bundle)
    parser["device"] = f"$torch.device('{device}')"
    parser["seed"] = 0
    if "pretrained" in parser and phase.config == "train":
        parser["pretrained"] = None
    for key, value in {**phase.settings, **(settings or {})}.items():
        parser[key] = copy.deepcopy(value)
    return parser


def random_batch(parser: ConfigParser, phase: Phase, seed: int = 0) -> dict[str, Any]:
    """A batch of the phase's shape in pinned memory where there is a GPU, as a loader gives it."""
    generator = torch.Generator().manual_seed(seed)
    parser["steps_shape"], parser["steps_classes"] = phase.image, phase.classes
    shape, classes = (parser.get_parsed_content(key) for key in ("steps_shape", "steps_classes"))
    size = parser.get_parsed_content("batch_size")
    batch: dict[str, Any] = {"image": torch.randn(size, *shape, generator=generator)}
    if phase.domain:
        batch["image"] = batch["image"].clamp(-0.9, 0.9)
        batch["domain"] = torch.arange(size) % 2
    else:
        batch["label"] = torch.randint(classes, (size, 1, *shape[1:]), generator=generator, dtype=torch.uint8)
    if torch.cuda.is_available():
        batch = {key: value.pin_memory() for key, value in batch.items()}
    return batch


def build(
    phase: Phase, device: str, steps: int, settings: Mapping[str, Any] | None = None
) -> tuple[Any, dict[str, Any], ConfigParser]:
    """The phase's trainer for one epoch of ``steps`` steps of one batch, that batch, and the parser."""
    parser = parse(phase, device, settings)
    batch = random_batch(parser, phase)
    parser["max_epochs"] = 1
    parser["train#dataloader"] = [batch] * steps
    parser["train#handlers"] = list(phase.handlers)
    torch.manual_seed(0)
    return parser.get_parsed_content("train#trainer"), batch, parser


@dataclass
class Steps:
    """What some steps of a phase took: seconds of each step, GiB at the peak (CUDA), and the loss of each."""

    seconds: list[float]
    gibibytes: float | None
    losses: list[float]
    parameters: int


def run_steps(
    phase: Phase,
    device: str,
    steps: int = 5,
    settings: Mapping[str, Any] | None = None,
    inside: contextlib.AbstractContextManager | None = None,
) -> Steps:
    """Train for some steps, and time each; ``inside`` is entered for the last step alone."""
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    trainer, _, _ = build(phase, device, steps, settings)
    seconds: list[float] = []
    losses: list[torch.Tensor] = []
    stack = contextlib.ExitStack()

    def begin(engine: Any) -> None:
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(-time.perf_counter())
        if inside is not None and engine.state.iteration == steps:
            stack.enter_context(inside)

    def end(engine: Any) -> None:
        stack.close()
        losses.append(engine.state.output["loss"].detach().float())
        if on_gpu:
            torch.cuda.synchronize()
        seconds[-1] += time.perf_counter()

    trainer.add_event_handler(Events.ITERATION_STARTED, begin)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
    trainer.run()
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if on_gpu else None
    network = getattr(trainer, "network", None) or trainer.g_network
    count = sum(parameter.numel() for parameter in network.parameters())
    return Steps(seconds, peak, [float(loss) for loss in losses], count)


def small_phases() -> Iterator[tuple[Phase, Mapping[str, Any]]]:
    """All phases with the settings that make them small."""
    return ((phase, phase.small) for phase in PHASES)

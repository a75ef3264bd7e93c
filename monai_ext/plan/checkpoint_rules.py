"""What a published encoder asks of a plan: its spacing, intensities, crop and network win over the data set's own.

An encoder's filters mean something for structures of the size, in voxels, and for the intensities that it has learned
from. Which side gives something up is said in each line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from monai_ext.errors import ConfigError
from monai_ext.networks.nets.stunet import STUNET_SIZES
from monai_ext.networks.published import Architecture
from monai_ext.plan.context import Context
from monai_ext.plan.crop_bundles import BATCH, validation_seconds
from monai_ext.plan.device_facts import StepCost
from monai_ext.plan.geometry import median_shape
from monai_ext.plan.pretraining import Pretraining, in_mm, times
from monai_ext.plan.schedule import ADAMW, STEPS, Schedule
from monai_ext.plan.settings import Setting
from monai_ext.plan.volume_rules import VolumePlan

__all__ = ["honour_checkpoint"]

#: Architectures that each bundle can start from.
TAKES = {"anatomask": ("ResEnc", "STU-Net"), "autopet_bixlstm": ("ResEnc",)}
FINER = 2.0  # times finer than the encoder's voxels, from where the data's spacing stays (nnU-Net: "much smaller")
SGD_RATE, ADAM_SHARE, WARM_UP = 1e-3, 0.3, 0.05  # nnU-Net's fine-tuning from nnssl; Adam's rate from scratch times that
Cost = Callable[[list[int]], StepCost]

#: Lines of the data set's own plan that the encoder's replace.
OWN = ("levels", "strides", "model_size", "channels", "scales", "optimizer", "lr", "weight_decay", "warmup")


def honour_checkpoint(
    bundle: str, context: Context, pretraining: Pretraining, own: Sequence[Setting]
) -> tuple[list[Setting], Schedule, float]:
    """The plan of a data set, changed to what an encoder asks for.

    Args:
        bundle: name of the bundle.
        context: data, device and configs.
        pretraining: of the encoder.
        own: the plan without it, which the lines compare with.

    Returns:
        Settings, schedule of the fine-tuning, gibibytes.

    Raises:
        ConfigError: when the bundle has no network for the encoder.
    """
    if pretraining.architecture.family not in TAKES.get(bundle, ()):
        able = ", ".join(f"{name} ({' and '.join(families)})" for name, families in TAKES.items())
        raise ConfigError(
            f"{pretraining.source} is of {pretraining.architecture}, which {bundle} cannot start from; there are {able}"
        )
    before = {setting.key: setting for setting in own}
    spacing, why_spacing = _spacing(pretraining, context, before["spacing"].value)
    network = _network(bundle, pretraining.architecture)
    channels = len(context.facts.modalities)
    stride = 2 ** _levels(pretraining.architecture)
    shape = median_shape(context.facts.spacings, context.facts.shapes, spacing)

    def cost(crop: list[int]) -> StepCost:
        names = {"organs": before["organs"].value} if "organs" in before else {}
        return context.cost({**network, **names, "crop_size": crop, "roi_size": crop}, (channels, *crop), BATCH)

    sides = [min(side, math.ceil(n / stride) * stride) for side, n in zip(pretraining.patch or (128,) * 3, shape)]
    wanted = [max(stride, side // stride * stride) for side in sides]
    if max(wanted) == stride:  # instance norm needs two voxels of the coarsest level
        wanted[-1] = 2 * stride
    crop, step = _crop(wanted, stride, cost, context)
    share = math.prod(crop) / float(np.prod(shape))
    plan = VolumePlan(None if spacing is None else tuple(spacing), crop, [], 0, step.seconds, step.gibibytes, {})
    run = context.fill(step, validation_seconds(context, plan, step.seconds))
    epochs_of = "iterations" if context.config("iterations") else "num_crops"
    lines = [
        context.setting("pretrained", pretraining.source, "as asked for"),
        context.setting("spacing", spacing, why_spacing),
        *_intensities(pretraining, context, before),
        context.setting("members", 1, "one network from published weights: several would differ little"),
        context.setting("batch_size", BATCH, "nnU-Net's least: what time there is goes into larger crops"),
        context.setting("crop_size", crop, _why_crop(crop, pretraining, before["crop_size"].value, share)),
        context.setting("batch_dice", share < 0.9, "a crop can be without a class" if share < 0.9 else "as the plan's"),
        *(context.setting(key, value, _why_network(pretraining, before)) for key, value in network.items()),
        *_rates(context, run),
        context.setting("max_epochs", run.epochs, run.reason()),
        context.setting(epochs_of, run.iterations * (BATCH if epochs_of == "num_crops" else 1), "of an epoch"),
        context.setting("val_interval", run.epochs if context.few else 4, "epochs"),
    ]
    said = {line.key for line in lines}
    kept = [s for s in own if s.key not in said and s.key not in OWN and not s.key.startswith("pretrain#")]
    return [*lines, *kept], run, step.gibibytes


def _spacing(pretraining: Pretraining, context: Context, own: Any) -> tuple[list[float] | None, str]:
    data = np.asarray(context.facts.spacing if own is None else own, dtype=float)
    if pretraining.spacing is None:
        return own, "the encoder asks for none: the data's own rule"
    encoder = np.asarray(pretraining.spacing, dtype=float)
    if np.prod(encoder / data) ** (1 / 3) > FINER:
        why = f"the data's own, over {FINER:g} times finer than the encoder's"
        return own, f"{why}; given up: the encoder's {in_mm(pretraining.spacing)}, structures look larger than it knows"
    lost = f"; given up: the data's {in_mm(data)}" if not np.allclose(encoder, data, rtol=0.01) else ""
    return [float(mm) for mm in encoder], f"as the encoder learned: shapes are learned in voxels{lost}"


def _intensities(pretraining: Pretraining, context: Context, before: dict[str, Setting]) -> list[Setting]:
    scales = before.get("scales")
    if pretraining.normalization == "z-score" and "percentiles" in context.configs["train"]:
        lost = "; given up: the data's fixed scales" if scales else "; given up: clipping at percentiles"
        why = f"as the encoder learned: z-score of the whole volume{lost}"
        return [context.setting("percentiles", [0, 100], why), context.setting("scales", None, why)]
    if scales is None:
        return []
    lost = "" if pretraining.normalization in ("CT", "") else f"; given up: the encoder's {pretraining.normalization}"
    return [context.setting("scales", scales.value, f"{scales.reason}{lost}")]


def _network(bundle: str, architecture: Architecture) -> dict[str, Any]:
    """Settings of the network of an architecture; strides of 2 after the first stage, as all published ones have."""
    if architecture.family == "STU-Net":
        base, depth = architecture.widths[0], architecture.blocks[0]
        names = {sizes: name for name, sizes in STUNET_SIZES.items()}
        levels = _levels(architecture)
        strides = [[2, 2, 2]] * levels + [[1, 1, 1]]
        return {"levels": levels, "strides": strides, "model_size": names.get((base, depth), [base, depth])}
    sizes: dict[str, Any] = {"channels": list(architecture.widths), "strides": [1, *[2] * _levels(architecture)]}
    network: dict[str, Any] = {"_target_": "monai_ext.networks.nets.ResidualEncoderUNet"}
    if bundle == "anatomask":
        network |= {"in_channels": "$len(@modalities)", "num_classes": "@num_classes", **sizes}
        return {"network_def": network | {"blocks": list(architecture.blocks)}}
    network |= {"in_channels": "$4 if @clicks else 2", "num_classes": 2, "position": "@position"}
    network |= {"bidirectional": "@bidirectional", "channels": "@channels", "strides": "@strides"}
    return {**sizes, "network_def": network | {"blocks": list(architecture.blocks)}}


def _levels(architecture: Architecture) -> int:
    """Down-samplings; an STU-Net's last stage, as wide as the one before, has none, and may be left out."""
    widths = architecture.widths
    return len(widths) - (2 if architecture.family == "STU-Net" and widths[-1:] == widths[-2:-1] else 1)


def _crop(crop: list[int], stride: int, cost: Cost, context: Context) -> tuple[list[int], StepCost]:
    """The largest crop of at most ``crop`` voxels that time and memory allow, measured on the smallest that can be."""
    seconds = context.seconds_of_steps(least=60.0)
    least = 2 * stride**3  # two voxels of the coarsest level
    step = cost([stride, stride, 2 * stride])
    while step.seconds / least * math.prod(crop) * STEPS > seconds and math.prod(crop) > least:
        crop = _smaller(crop, stride)
    while math.prod(crop) > least:
        step = cost(crop)
        if step.gibibytes <= context.memory:
            return crop, step
        crop = _smaller(crop, stride)
    return crop, cost(crop)


def _smaller(crop: Sequence[int], stride: int) -> list[int]:
    axis = int(np.argmax(crop))
    return [n - stride if i == axis else n for i, n in enumerate(crop)]


def _why_crop(crop: list[int], pretraining: Pretraining, own: Sequence[int], share: float) -> str:
    seen = "the whole of the median scan" if share >= 0.9 else f"{share:.2%} of the median scan"
    sides = {"the encoder's": pretraining.patch, "the data's": own}
    lost = [f"{whose} {times(side)}" for whose, side in sides.items() if side and list(side) != crop]
    given = f"; given up: {' and '.join(lost)}, for the scan's size, time and memory" if lost else ""
    return f"{seen}, whole voxels of the encoder's coarsest level{given}"


def _why_network(pretraining: Pretraining, before: dict[str, Setting]) -> str:
    keys = [key for key in ("model_size", "channels", "strides") if key in before]
    lost = ", ".join(f"{key} {before[key].value}" for key in keys)
    return f"{pretraining.architecture}, the weights' own; given up: the data's {lost}"


def _rates(context: Context, run: Schedule) -> list[Setting]:
    rise = {"_target_": "monai_ext.handlers.LearningRate", "shape": "polynomial", "warmup": WARM_UP}
    schedule = context.setting("lr_scheduler", rise, "a rise of 5 % and a polynomial, as nnU-Net fine-tunes from nnssl")
    if not run.few:
        return [schedule, context.setting("lr", SGD_RATE, "a tenth of the rate from scratch (nnU-Net)")]
    why = f"AdamW: {run.steps} steps are few for SGD; its rate from scratch times {ADAM_SHARE:g}"
    return [
        schedule,
        context.setting("optimizer", ADAMW, why),
        context.setting("lr", round(run.rate * ADAM_SHARE, 6), why),
        context.setting("weight_decay", 0.0001, "of AdamW"),
    ]

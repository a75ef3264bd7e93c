"""Plans of the bundles that train on 2-D slices: amlp and prostate_mae."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from monai_ext.plan.context import Context
from monai_ext.plan.crop_bundles import flips_of
from monai_ext.plan.dataset_facts import DatasetFacts
from monai_ext.plan.device_facts import StepCost
from monai_ext.plan.schedule import ADAMW, STEPS, Schedule, count_members
from monai_ext.plan.settings import Setting
from monai_ext.transforms.tissue import otsu_threshold

__all__ = ["plan_amlp", "plan_prostate_mae", "slice_grid_size"]

WIDTHS = (32, 16, 8)
BATCH = 12  # nnU-Net's for slices of 2-D sets; a third of them with lesion
PART = 4  # of the batch for each of several networks
LEAST_PIXELS = 16.0  # across the median lesion that a coarser grid must leave
MULTIPLE = 16  # four down-samplings
AIR = 0.2  # share of air from which it would set the scale of the tissue
SQUARE = 1.5  # nnU-Net turns planes by any angle up to this ratio of their sides, others by 15 degrees
RATE = 0.001  # .003 and .005 do not get further in some thousand steps
SHIFT, MOVED = 0.2, 0.8  # of the size, of the slices
#: Width, depth, heads and decoder's channels of prostate MAE's network, the paper's first, and the least.
ENCODERS = ((384, 12, 6, 48), (192, 8, 6, 32), (128, 4, 4, 24))


def slice_grid_size(
    spacings: np.ndarray, shapes: np.ndarray, lesion_mm: float, max_pixels: float
) -> tuple[list[float], list[int]]:
    """Spacing in the plane and pixels of a slice that show the whole of nearly all scans.

    The spacing is the median, isotropic in the plane; where a slice would have more than ``max_pixels`` it is coarser,
    as far as the median lesion keeps 16 pixels across.

    Args:
        spacings: mm along R and A, ``[N, 2]``.
        shapes: pixels along R and A, ``[N, 2]``.
        lesion_mm: across the median lesion.
        max_pixels: of a slice that the device can train in the time that there is.

    Returns:
        mm along R and A, and pixels along R and A, multiples of 16.
    """
    field = np.percentile(spacings * shapes, 95, axis=0)
    finest = float(np.median(spacings.min(axis=1)))
    wanted = math.sqrt(float(field.prod()) / max_pixels)
    mm = max(finest, min(wanted, max(finest, lesion_mm / LEAST_PIXELS)))
    size = [max(2, math.ceil(round(side / mm, 3) / MULTIPLE)) * MULTIPLE for side in field]
    mm = max(finest, *(side / pixels for side, pixels in zip(field, size)))  # the pixels are there: use them
    return [round(float(mm), 3)] * 2, size


def air_share(facts: DatasetFacts) -> float:
    """Share of the voxels outside of the labels that are not the commonest value and yet below Otsu's threshold.

    Of the median scan, in the modality that has most of them; CT is scaled by a window and does not count.
    """
    shares = [0.0]
    for name in facts.modalities:
        if facts.is_ct(name):
            continue
        scans = [torch.from_numpy(case.outside[name]) for case in facts.cases if len(case.outside.get(name, ()))]
        air = [float((values <= otsu_threshold(values)).float().mean()) for values in scans]
        shares.append(float(np.median(air)) if air else 0.0)
    return max(shares)


def plan_amlp(context: Context) -> tuple[list[Setting], Schedule, float]:
    """U-Net on axial slices: settings, schedule of the fine-tuning, gibibytes."""
    facts = context.facts
    lesion = float(np.sqrt(facts.extent[0] * facts.extent[1]))
    channels = len(facts.modalities)

    seconds = context.seconds_of_steps(least=30.0)
    first = context.cost(_network(16) | {"augment": True}, (channels, 64, 64), BATCH)
    per_pixel = first.seconds / 64**2
    mm, size = slice_grid_size(facts.spacings[:, :2], facts.shapes[:, :2], lesion, seconds / STEPS / per_pixel)
    width, members, found = 8, 1, first
    if context.ensembles:
        members, found = _ensemble(context, _network(8), (channels, *size))
    else:
        for width in WIDTHS:
            if width > 8 and per_pixel * math.prod(size) * (width / 16) ** 1.5 * STEPS > 1.3 * seconds:
                continue
            found = context.cost(_network(width) | {"augment": True}, (channels, *size), BATCH)
            if found.seconds * STEPS <= seconds and found.gibibytes <= context.memory:
                break
    run = context.fill(found)
    axes, why = flips_of(context)
    axes = [axis for axis in axes if axis < 2]
    angle = 180 if max(size) < SQUARE * min(size) else 15
    air = air_share(facts)
    lines = [
        context.setting("tissue", air > AIR, f"{air:.0%} of what is not 0 is air: z-score over tissue from a fifth on"),
        context.setting(
            "spacing", [*mm, 0.0], f"in the plane the median, or coarser for {STEPS} steps; slices stay as they are"
        ),
        context.setting(
            "img_size", size, f"the whole of the scans; the median lesion is {lesion / mm[0]:.0f} pixels across"
        ),
        context.setting("interpolation", "bilinear", "the grid changes"),
        context.setting(
            "features",
            _network(width)["features"],
            "a wider network learns few patients by heart"
            if context.ensembles
            else f"the widest that takes {STEPS} steps in the time: {found.seconds:.2g} s each",
        ),
        *_members(context, members, found),
        context.setting(
            "slices", "all", f"{facts.lesion_slices:.0%} of the slices show lesion; whole scans are judged"
        ),
        _forced(context),
        context.setting("augment", True, "as nnU-Net, in the plane"),
        context.setting("rotation", angle, "degrees; nnU-Net's for planes of this shape"),
        *_moves(context),
        context.setting("flips", axes, why),
        context.setting("mirror", axes, "as in training"),
        context.setting("batch_dice", True, "a slice can be without lesion"),
        context.setting("clip_norm", 12.0, "nnU-Net's"),
        context.setting("optimizer", ADAMW, "the config's own, by one name for all bundles"),
        context.setting("lr", RATE, "of AdamW, with a decay to 0"),
        _rise(context),
        context.setting("max_epochs", run.epochs, run.reason()),
        context.setting("iterations", run.iterations, "steps of an epoch"),
        context.setting("val_interval", run.epochs if context.few else 4, "epochs"),
        context.setting("pretrain#max_epochs", run.epochs, "as many minutes"),
        context.setting("pretrain#iterations", run.iterations * members, "steps of an epoch; each costs about as much"),
        context.setting("pretrain#batch_size", 16, "slices"),
        context.setting("pretrain#lr", run.rate, "few steps"),
    ]
    return lines, run, found.gibibytes


def _network(width: int) -> dict[str, Any]:
    """Settings of a U-Net of four down-samplings."""
    return {"features": [width * 2**level for level in range(5)]}


def _ensemble(context: Context, network: Mapping[str, Any], shape: Sequence[int]) -> tuple[int, StepCost]:
    """How many such networks the time allows, each with its part of a batch, and what a step of all of them costs."""
    alone = context.cost({**network, "augment": True}, shape, PART)
    members = count_members(context.seconds_of_steps(least=30.0), alone.seconds, context.memory, alone.gibibytes)
    return members, context.cost({**network, "augment": True, "members": members}, shape, PART * members)


def _members(context: Context, members: int, step: StepCost) -> list[Setting]:
    """How many networks learn, and the batch that they share."""
    why = f"networks that the time allows {STEPS} steps each, {step.seconds:.2g} s for all: their mean errs less"
    if not context.ensembles:
        return [
            context.setting("members", 1, "many patients are labelled, or the row has its own"),
            context.setting("batch_size", BATCH, "nnU-Net's for slices"),
        ]
    return [
        context.setting("members", members, why),
        context.setting("batch_size", PART * members, f"{PART} slices for each network"),
    ]


def _rise(context: Context) -> Setting:
    """How the rate goes."""
    rate = {"_target_": "monai_ext.handlers.LearningRate", "shape": "cosine", "warmup": 0.05}
    return context.setting(
        "lr_scheduler", rate, "a rise of 5 %: Adam at its full rate first learns that all is background"
    )


def _forced(context: Context) -> Setting:
    """Slices that must show lesion."""
    if context.ensembles:
        return context.setting("lesion_share", 0.5, "two of the four slices of a network are forced to show lesion")
    return context.setting("lesion_share", 0.33, "of each batch is forced to show lesion (nnU-Net)")


def _moves(context: Context) -> list[Setting]:
    """A slice is seen whole, where nnU-Net sees crops from everywhere: without shifts places are learned by heart."""
    return [
        context.setting(
            "shift", SHIFT, "of a slice's size: whole slices of few patients are learned by heart otherwise"
        ),
        context.setting("moved", MOVED, "share of the slices that are turned, scaled or shifted"),
    ]


def plan_prostate_mae(context: Context) -> tuple[list[Setting], Schedule, float]:
    """Masked autoencoder on the gland's slices: the paper's grid, and its network where the time allows it."""
    size = int(context.config("img_size"))
    for dim, depth, heads, channels in ENCODERS:
        network = {"embed_dim": dim, "depth": depth, "num_heads": heads, "decoder_channels": channels}
        found = context.cost({**network, "augment": True}, (3, size, size), BATCH)
        if found.seconds * STEPS <= 60 * context.minutes and found.gibibytes <= context.memory:
            break
    members = 1
    if context.ensembles:
        members, found = _ensemble(context, network, (3, size, size))
    run = context.fill(found)
    paper = dim == ENCODERS[0][0]
    why = "the paper's" if paper else f"the paper's takes too long for {STEPS} steps: {found.seconds:.2g} s a step here"
    rate = 0.001 if run.few else context.config("decoder_lr")
    lines = [
        *(context.setting(key, value, why) for key, value in network.items()),
        *_members(context, members, found),
        context.setting("slices", "all", f"{context.facts.lesion_slices:.0%} show lesion; whole volumes are judged"),
        _forced(context),
        context.setting("augment", True, "as nnU-Net, in the plane"),
        context.setting("rotation", 15, "degrees"),
        *_moves(context),
        context.setting("flips", [0], "the gland is symmetric left-right"),
        context.setting("mirror", [0], "as in training"),
        context.setting("clip_norm", 12.0, "nnU-Net's"),
        context.setting("decoder_lr", rate, f"{run.steps} steps are few" if run.few else "the paper's"),
        context.setting(
            "encoder_lr", rate / 4 if run.few else context.config("encoder_lr"), "a quarter, if pretrained"
        ),
        context.setting("frozen_epochs", 1, "of the encoder"),
        _rise(context),
        context.setting("max_epochs", run.epochs, run.reason()),
        context.setting("iterations", run.iterations, "steps of an epoch"),
        context.setting("val_interval", run.epochs if context.few else 4, "epochs"),
        *context.last_weights(),
        context.setting("pretrain#max_epochs", run.epochs, "as many minutes"),
        context.setting("pretrain#iterations", run.iterations * members, "a step of it costs about as much"),
        context.setting("pretrain#batch_size", 2 * BATCH, "a quarter of the patches is seen"),
        context.setting("pretrain#decoder_dim", dim // 2, "as in the paper, half of the encoder's width"),
        context.setting("pretrain#lr", 0.0005 if run.few else context.config("lr", "pretrain"), "few steps"),
    ]
    return lines, run, found.gibibytes

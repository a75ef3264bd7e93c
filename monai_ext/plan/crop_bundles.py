"""Plans of the bundles that train on 3-D crops: anatomask, autopet_bixlstm and adunet_anomaly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from monai_ext.plan.context import Context
from monai_ext.plan.device_facts import StepCost
from monai_ext.plan.intensity_rules import fixed_scales
from monai_ext.plan.schedule import ADAMW, STEPS, Schedule, count_members
from monai_ext.plan.settings import Setting
from monai_ext.plan.volume_rules import VolumePlan, plan_volumes
from monai_ext.transforms.fixed_scale import FixedScale

__all__ = ["plan_adunet", "plan_anatomask", "plan_autopet"]

LONG = 2 * STEPS  # of crops, for one network: 1200 beat three networks of 400 on PET/CT
BATCH = 2  # nnU-Net's least; larger crops before larger batches
PRIOR, RARE = 0.01, 0.02  # share of foreground at first, where there is less than so much
# Instead of nnU-Net's, for runs of few steps: its shares of changed intensities, 30 degrees and .7 to 1.4.
INTENSITY, ROTATION, ZOOM = 0.3, 15, [0.8, 1.25]
WIDEST = 320  # channels of the deepest levels, as in nnU-Net


def channels_of(width: int, levels: int) -> list[int]:
    """Channels of each level: doubled with each down-sampling, up to 320."""
    return [min(width * 2**level, WIDEST) for level in range(levels + 1)]


def flips_of(context: Context) -> tuple[list[int], str]:
    """Axes to mirror along, and why."""
    ordered = context.facts.ordered_axes()
    axes = [axis for axis in range(3) if axis not in ordered]
    names = ", ".join(("left-right", "back-front", "foot-head")[axis] for axis in ordered)
    return axes, f"classes that look alike keep their order {names}" if ordered else "all axes (nnU-Net)"


def _plan(context: Context, overrides_of: Any, channels: int) -> tuple[VolumePlan, int, StepCost]:
    """Geometry and network, how many networks learn side by side, and what a step of all of them costs."""

    def cost(width: int, crop: Sequence[int], strides: Sequence[Sequence[int]], members: int = 1) -> StepCost:
        overrides = overrides_of(width, list(crop), [list(s) for s in strides]) | {"members": members}
        return context.cost(overrides, (channels, *crop), BATCH * members)

    def alone(width: int, crop: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[float, float]:
        found = cost(width, crop, strides)
        return found.seconds, found.gibibytes

    seconds = context.seconds_of_steps(least=60.0)
    plan = plan_volumes(context.facts, alone, seconds, context.memory)
    members = (
        count_members(seconds, plan.step_seconds, context.memory, plan.gibibytes, LONG) if context.ensembles else 1
    )
    if members == 1:
        return plan, 1, StepCost(plan.step_seconds, plan.gibibytes)
    return plan, members, cost(plan.width, plan.crop, plan.strides, members)


def _shared(context: Context, plan: VolumePlan, members: int) -> list[Setting]:
    """Lines that the bundles of crops have in common."""
    facts = context.facts
    scales = fixed_scales(facts)
    axes, why = flips_of(context)
    lines = [
        context.setting("spacing", None if plan.spacing is None else list(plan.spacing), plan.reasons["spacing"]),
        context.setting("crop_size", plan.crop, plan.reasons["crop"]),
        context.setting(
            "members",
            members,
            f"networks that the time allows {LONG} steps each: their mean errs less"
            if members > 1
            else f"one: more would not take {LONG} steps each"
            if context.ensembles
            else "one: many patients are labelled, or the row has its own",
        ),
        context.setting("batch_size", BATCH * members, "nnU-Net's least for each network: larger crops come first"),
        context.setting(
            "foreground",
            0.5 if members > 1 else 0.33,
            f"every other crop, as of nnU-Net's two; {facts.foreground:.2%} of the voxels are foreground",
        ),
        context.setting("batch_foreground", True, "one crop of each batch at least (nnU-Net)"),
        context.setting("flips", axes, why),
        context.setting(
            "batch_dice", not plan.whole, "a crop can be without a class" if not plan.whole else "each crop shows all"
        ),
        context.setting("deform", [1, 4], "splines: a fifth of the crops moves by up to some voxels"),
    ]
    if facts.foreground < RARE:
        why = "of the untrained network; from a half, Adam's first steps can end at background alone (Lin 2017)"
        lines.append(context.setting("prior", PRIOR, why))
    if scales:
        logarithm = any(FixedScale(*scale).log for scale in scales.values())
        why = "scaled by the set's foreground (nnU-Net)" + "; uptake by its logarithm" * logarithm
        lines.append(context.setting("scales", scales, f"{', '.join(scales)}: a quantity, {why}"))
    return lines


def _rates(context: Context, run: Schedule) -> list[Setting]:
    if not run.few:
        return []
    why = f"AdamW: {run.steps} steps are few for SGD, which is made for 250,000"
    decay = context.setting("weight_decay", 0.0001, "of AdamW")
    rise = context.setting("warmup", 0.05, "of the steps: Adam at its full rate first learns that all is background")
    milder = [
        context.setting(
            "intensity", INTENSITY, f"of nnU-Net's shares of changed intensities, made for more than {run.steps} steps"
        ),
        context.setting("rotation", ROTATION, "degrees; the same"),
        context.setting("zoom", ZOOM, "the same"),
    ]
    milder += [context.setting("outside", "border", "of a turned crop")] if context.knows("outside") else []
    return [context.setting("optimizer", ADAMW, why), context.setting("lr", run.rate, why), decay, rise, *milder]


def validation_seconds(context: Context, plan: VolumePlan, step: float) -> float:
    """Seconds of a validation: windows of a tenth of the cases, at a third of a step's cost for each crop."""
    shape = (
        context.facts.shapes
        * context.facts.spacings
        / (context.facts.spacing if plan.spacing is None else plan.spacing)
    )
    windows = [math.prod(max(1, math.ceil(2 * n / c) - 1) for n, c in zip(case, plan.crop)) for case in shape]
    return sum(windows) / 5 * step / (3 * BATCH)


def plan_anatomask(context: Context) -> tuple[list[Setting], Schedule, float]:
    """STU-Net on crops: settings, schedule of the fine-tuning, gibibytes."""
    organs = context.config("organs") or []
    classes = context.facts.classes
    names = [context.names.get(value, f"class {value}") for value in range(1, max(classes, default=1) + 1)]
    if not context.names and len(organs) == len(names):
        names = organs

    def overrides(width: int, crop: list[int], strides: list[list[int]]) -> dict[str, Any]:
        network = {"levels": len(strides), "model_size": [width, 1], "strides": [*strides, [1, 1, 1]]}
        return network | {"organs": names, "roi_size": crop}

    plan, members, step = _plan(context, overrides, len(context.facts.modalities))
    run = context.fill(step, validation_seconds(context, plan, plan.step_seconds * members))
    lines = [context.setting("organs", names, "the label values that were found")] if names != organs else []
    lines += [
        *_shared(context, plan, members),
        context.setting("levels", plan.levels, plan.reasons["strides"]),
        context.setting(
            "strides", [*plan.strides, [1, 1, 1]], "and one level more at the coarsest resolution, as STU-Net"
        ),
        context.setting("model_size", [plan.width, 1], plan.reasons["width"]),
        context.setting("mirror", flips_of(context)[0], "as in training"),
        *_rates(context, run),
        context.setting("max_epochs", run.epochs, run.reason()),
        context.setting("num_crops", run.iterations * BATCH * members, "crops of an epoch"),
        context.setting("val_interval", run.epochs if context.few else 4, "epochs"),
        *context.last_weights(),
        context.setting("pretrain#max_epochs", run.epochs, "as many minutes; a step of it costs about as much"),
        context.setting(
            "pretrain#num_crops", max(BATCH, run.iterations * members // 2 * BATCH), "two networks: half of the steps"
        ),
        context.setting("pretrain#batch_size", BATCH, "as in fine-tuning"),
        context.setting("pretrain#bottleneck", True, "half of the encoder's parameters begin at random without it"),
        context.setting("pretrain#lr", run.rate if run.few else context.config("lr", "pretrain"), "few steps"),
        context.setting("pretrain#ema_momentum", 0.9 if run.few else 0.999, "the teacher has to follow within the run"),
        context.setting("pretrain#final_ema_momentum", 0.99 if run.few else 0.9999, "the same"),
    ]
    return lines, run, step.gibibytes


def plan_autopet(context: Context) -> tuple[list[Setting], Schedule, float]:
    """XLSTM U-Net on crops of PET/CT: settings, schedule of the fine-tuning, gibibytes."""

    def overrides(width: int, crop: list[int], strides: list[list[int]]) -> dict[str, Any]:
        return {
            "channels": channels_of(width, len(strides)),
            "strides": [1, *strides],
            "crop_size": crop,
            "clicks": None,
        }

    plan, members, step = _plan(context, overrides, 2)
    run = context.fill(step, validation_seconds(context, plan, plan.step_seconds * members))
    total = [math.prod(stride[axis] for stride in plan.strides) for axis in range(3)]
    lines = [
        *_shared(context, plan, members),
        context.setting("channels", channels_of(plan.width, plan.levels), plan.reasons["width"]),
        context.setting("strides", [1, *plan.strides], plan.reasons["strides"]),
        context.setting("mirror", flips_of(context)[0], "as in training"),
        *_rates(context, run),
        context.setting("max_epochs", run.epochs, run.reason()),
        context.setting("iterations", run.iterations, "steps of an epoch"),
        context.setting("val_interval", run.epochs if context.few else 4, "epochs"),
        context.setting("pretrain#max_epochs", run.epochs, "as many minutes"),
        context.setting("pretrain#iterations", run.iterations * members, "a step of it costs about as much"),
        context.setting("pretrain#patch_size", max(total), "a patch is hidden at every level of the encoder"),
        context.setting("pretrain#lr", run.rate if run.few else context.config("lr", "pretrain"), "few steps"),
    ]
    return lines, run, step.gibibytes


def plan_adunet(context: Context) -> tuple[list[Setting], Schedule, float]:
    """The segmenter of adU-Net on the gland: settings, schedule, gibibytes. Generators keep their paper's networks."""
    size = list(context.config("crop_size"))
    channels = 3 + len(context.config("map_modalities") or [])
    strides = context.config("strides")
    levels = len(strides) - 1

    def cost(width: int) -> StepCost:
        return context.cost({"channels": channels_of(width, levels)}, (channels, *size), BATCH)

    width, found = 8, cost(8)
    for wider in (32, 16):
        if found.seconds * (wider / 8) ** 1.5 * 300 > 60 * context.minutes:
            continue
        tried = cost(wider)
        if tried.gibibytes <= context.memory and tried.seconds * 300 <= 60 * context.minutes:
            width, found = wider, tried
            break
    run = context.fill(found)
    lines = [
        context.setting(
            "channels",
            channels_of(width, levels),
            f"the widest to take 300 steps in the time, {found.seconds:.2g} s each",
        ),
        context.setting("lr", run.rate if run.few else context.config("lr"), f"{run.steps} steps are few"),
        context.setting("max_epochs", run.epochs, run.reason()),
        context.setting("iterations", run.iterations, "steps of an epoch"),
        context.setting("val_interval", max(1, run.epochs // 4), "epochs"),
        context.setting("reconstruct#max_epochs", run.epochs, "as many minutes for each generator"),
        context.setting("reconstruct#iterations", run.iterations, "a step of it costs about as much"),
    ]
    return lines, run, found.gibibytes

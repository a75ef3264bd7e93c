"""The plan of a chain: ``python -m monai_ext.plan --bundle B --datalist FILE --dataset_dir DIR``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import find_row
from monai_ext.check import _parse as parse_config
from monai_ext.command_line import split_names
from monai_ext.data import load_datalist, patients_of
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import ConfigError
from monai_ext.phases.chain import later_phases, phase_file
from monai_ext.plan.checkpoint_rules import honour_checkpoint
from monai_ext.plan.context import Context
from monai_ext.plan.crop_bundles import plan_adunet, plan_anatomask, plan_autopet
from monai_ext.plan.dataset_facts import DatasetFacts, measure_dataset
from monai_ext.plan.device_facts import device_memory, parse_memory
from monai_ext.plan.pretraining import find_pretraining
from monai_ext.plan.schedule import Schedule
from monai_ext.plan.settings import Plan, Setting
from monai_ext.plan.slice_bundles import plan_amlp, plan_prostate_mae

__all__ = ["BUNDLES", "make_plan", "own_settings", "plan"]

#: Settings of the fine-tuning alone that the chain would hand on to earlier phases.
TUNING = ("foreground", "last_epoch")
TEACHING = 2.5  # steps of the training that one of a self-training costs: two of a student, a teacher's forward pass
MANY = 2  # patients without labels for each with one, from which on self-training is planned

Rules = Callable[[Context], tuple[list[Setting], Schedule, float]]

#: Rules of each bundle, and the keys of its images where its config does not name them.
BUNDLES: dict[str, tuple[Rules, tuple[str, ...]]] = {
    "anatomask": (plan_anatomask, ("image",)),
    "autopet_bixlstm": (plan_autopet, ("ct", "pet")),
    "adunet_anomaly": (plan_adunet, ("t2w", "adc", "hbv")),
    "amlp": (plan_amlp, ("flair",)),
    "prostate_mae": (plan_prostate_mae, ("t2w", "adc", "hbv")),
}


def plan(
    bundle: str,
    datalist: str,
    dataset_dir: str,
    minutes: float = 15.0,
    memory: str | None = None,
    out: str | None = None,
    paper: bool = False,
    modalities: str | Sequence[str] | None = None,
    stacked: str | Sequence[str] | None = None,
    num_labelled: int | None = None,
    val_fold: int | None = None,
    row: str | None = None,
    pretrained: str | None = None,
) -> None:
    """Look at a data set and this device, print the settings that suit them with a reason each, and write an overlay.

    Give the overlay to ``training``, which hands it to the earlier phases, to ``evaluating`` and to ``inference``:
    ``--config_file "['.../train.json','plan.json']"``. It names the data set, so that these use it too.

    Exit codes: 0; 2 the command is wrong, or nothing fits; 3 the data has errors.

    Args:
        bundle: name of the bundle.
        datalist: the JSON of the data set.
        dataset_dir: the directory that its paths are relative to.
        minutes: that each phase may take.
        memory: that a run may take, such as 8G; by default four fifths of what is free.
        out: file to write the overlay to; by default it is only printed.
        paper: keep the paper's settings, and say what they cost here and whether they fit.
        modalities: keys of the images, separated by commas; by default the bundle's.
        stacked: order of the volumes where the images are one 4-D file each, such as t1,flair,t1ce.
        num_labelled: patients whose labels will be used; by default all that have one.
        val_fold: fold that trains nothing and is not looked at; by default the bundle's.
        row: a row of the bundle's tables, such as stock: its network is timed, and gets as many steps as the minutes
            allow. Give its overlay after the plan's.
        pretrained: a published encoder to start from: its name, hub:OWNER/NAME or a file. Its spacing, intensities,
            crop and network win over the data set's where its weights need them.
    """
    if paper and pretrained:
        raise ConfigError("give --paper or --pretrained: the paper's settings are those of its own pretraining")
    if bundle not in BUNDLES:
        raise ConfigError(f"no rules for a bundle {bundle!r}; there are {', '.join(BUNDLES)}")
    parser = parse_config(bundle, None)
    root = Path(parser["bundle_root"])
    configs = {path.stem: ConfigParser.load_config_file(path) for path in sorted((root / "configs").glob("*.json"))}
    configs = {name: config for name, config in configs.items() if "bundle_root" in config}
    known = configs["train"]
    keys = tuple(split_names(modalities)) if modalities else tuple(known.get("modalities") or BUNDLES[bundle][1])
    order = split_names(stacked) if stacked else None
    fold = known.get("val_fold") if val_fold is None else val_fold
    items = load_datalist(datalist, dataset_dir, exclude_folds=fold, optional_sections=["unlabelled"])
    preprocessing = parser.get_parsed_content("preprocessing") if modalities is None and stacked is None else None
    facts = measure_dataset(items, keys, preprocessing, order)
    allowed = 0.8 * device_memory() if memory is None else parse_memory(memory)
    names, labelled = names_of(datalist), num_labelled or facts.labelled
    row_files = [] if row is None else find_row(root, row)
    context = Context(root, configs, facts, labelled, float(minutes), allowed, names, row_files)
    context.pretraining = find_pretraining(pretrained) if pretrained else None
    made = make_plan(bundle, context, paper)
    asked = {
        "datalist": str(Path(datalist).absolute()),
        "dataset_dir": str(Path(dataset_dir).absolute()),
        "num_labelled": num_labelled,
        "val_fold": val_fold,
        "modalities": list(keys) if modalities else None,
        "stacked": order,
    }
    made.settings[:0] = [
        Setting(key, value, "as asked for", known.get(key))
        for key, value in asked.items()
        if value is not None and context.knows(key)
    ]
    print(describe(facts, len(patients_of(items)), allowed, labelled, bundle))
    if context.pretraining:
        print(f"{context.pretraining}\n")
    print(made.table())
    if made.seconds is not None:
        print(f"\nEach phase takes {made.seconds / 60:.0f} minutes and {made.gibibytes:.2g} GiB.")
    if out is not None:
        write(Path(out), made.promise() | made.overlay())


def make_plan(bundle: str, context: Context, paper: bool = False) -> Plan:
    """The plan of a bundle; settings that none of its configs takes become warnings.

    Args:
        bundle: name of the bundle.
        context: data, device and configs.
        paper: keep what the configs have; only say what it costs.
    """
    if paper:
        return _paper_plan(bundle, context)
    settings, run, gibibytes = BUNDLES[bundle][0](context)
    if context.pretraining is not None:
        settings, run, gibibytes = honour_checkpoint(bundle, context, context.pretraining, settings)
    settings += own_settings(context, settings)
    taken = [setting for setting in settings if context.knows(setting.key)]
    taken += later_settings(context, run)
    dropped = [setting.key for setting in settings if setting not in taken]
    found = Plan(taken, seconds=run.seconds, gibibytes=gibibytes)
    if dropped:
        found.warnings.append(f"the configs of {bundle} have no {', '.join(dropped)}: left out")
    if gibibytes > context.memory:
        found.warnings.append(f"the least network takes {gibibytes:.2g} GiB, {context.memory:.2g} are allowed")
    if context.labelled < 3:
        found.warnings.append(f"{context.labelled} labelled patients: which they are will matter more than any setting")
    if run.seconds > 60 * context.minutes:
        rest = f"preprocessing and validation alone take {run.fixed_seconds / 60:.1f} minutes"
        found.warnings.append(f"the run takes {run.seconds / 60:.1f} minutes: {rest}; validate on fewer cases")
    if run.steps < 300:
        found.warnings.append(f"{run.steps} steps are hardly a training: give more --minutes or a faster device")
    return found


def own_settings(context: Context, settings: Sequence[Setting]) -> list[Setting]:
    """What earlier phases keep of their own, where fine-tuning's setting on top of the overlay would reach them too."""
    said = {setting.key for setting in settings}
    return [
        Setting(f"{phase}#{key}", config[key], "this phase's own", config[key])
        for phase, config in context.configs.items()
        for key in TUNING
        if phase not in ("train", "evaluate", "inference")
        and key in said
        and key in config
        and f"{phase}#{key}" not in said
    ]


def later_settings(context: Context, run: Schedule) -> list[Setting]:
    """Whether a phase goes on after the training, and its epochs: its steps are over two batches, with a teacher's.

    Args:
        context: data, device and configs.
        run: schedule of the training.
    """
    why = f"as many minutes: a step with a teacher costs as much as {TEACHING:g} of the training"
    phases, rest = later_phases(context.configs["train"]), context.facts.patients - context.labelled
    found = []
    if phases and rest >= MANY * context.labelled:
        many = f"{rest} patients without labels teach as well, beside {context.labelled} with"
        found.append(Setting("semi_supervised", True, many, context.config("semi_supervised")))
    for phase in phases:
        own = ConfigParser.load_config_file(str(phase_file(context.root / "configs", phase)))
        epochs = max(1, round(run.epochs / TEACHING))
        found.append(Setting(f"{phase}#max_epochs", epochs, why, own["max_epochs"]))
    return found


def _paper_plan(bundle: str, context: Context) -> Plan:
    """The configs' own settings, and whether they fit."""
    size = context.config("crop_size") or context.config("img_size")
    size = [size, size] if isinstance(size, int) else size
    channels = len(context.facts.modalities) + len(context.config("map_modalities") or [])
    batch = int(ConfigParser(dict(context.configs["train"])).get_parsed_content("batch_size"))
    step = context.cost({}, (channels, *size), batch)
    epochs = int(context.config("max_epochs"))
    each = context.config("iterations") or (context.config("num_crops") or 0) // batch
    found = Plan([], gibibytes=step.gibibytes, seconds=step.seconds * epochs * each if each else None)
    if step.gibibytes > context.memory:
        found.warnings.append(f"the paper's settings take {step.gibibytes:.3g} GiB, {context.memory:.3g} are allowed")
    if found.seconds and found.seconds > 60 * context.minutes:
        found.warnings.append(
            f"the paper's {epochs * each} steps of {step.seconds:.3g} s take {found.seconds / 3600:.3g} hours, "
            f"{context.minutes:g} minutes are allowed"
        )
    return found


def names_of(datalist: str | Path) -> dict[int, str]:
    """Names of the label values, where a datalist has them: ``{"labels": {"1": "liver", ...}}``."""
    labels = json.loads(Path(datalist).read_text(encoding="utf-8")).get("labels")
    if not isinstance(labels, dict):
        return {}
    pairs = [(key, value) if str(key).isdigit() else (value, key) for key, value in labels.items()]  # nnU-Net: by name
    return {int(value): str(name) for value, name in pairs if str(value).isdigit()}


def describe(facts: DatasetFacts, patients: int, memory: float, labelled: int, bundle: str) -> str:
    """What was measured, in a few lines, and what chooses the labelled patients where not all are."""
    spacing, shape = facts.spacing.round(2).tolist(), [round(float(n)) for n in facts.shapes.mean(axis=0)]
    lines = [
        f"{patients} patients, {facts.labelled} labelled, {len(facts.classes)} classes; {len(facts.cases)} scans read",
        f"voxels of {spacing} mm, {shape} of them on average; {facts.foreground:.2%} are foreground",
        f"{memory:.3g} GiB of memory",
    ]
    if labelled < patients:
        choose = f"python -m monai_ext.select --bundle {bundle} --num {labelled or 5} ..."
        lines.append(f"labels of {labelled} patients will be used; which ones? {choose}")
    return "\n".join([*lines, ""])


def write(path: Path, overlay: Mapping[str, Any]) -> None:
    """Write an overlay, whole or not at all.

    Raises:
        ConfigError: when it cannot be written.
    """
    try:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(overlay, indent=4) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}") from error

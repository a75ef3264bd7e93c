"""Choose the patients whose scans are labelled first, and write the list, a picture and the datalist."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from monai_ext.bundle import Command, config_files, find_root
from monai_ext.command_line import split_names
from monai_ext.data.entries import Item, case_of
from monai_ext.data.io.csv_file import write_csv
from monai_ext.errors import CheckpointError, ConfigError, DataError
from monai_ext.phases.command import check_command, refuse_misspelt_options
from monai_ext.select.choice import Choice, make_choice
from monai_ext.select.encoder import EncoderFeatures, has_encoder
from monai_ext.select.features import Measured, measure, patient_features, read_kept
from monai_ext.select.patients import Patients, read_patients, write_choice
from monai_ext.select.picture import MOST_OUTLIERS, MOST_SLICES, draw_choice
from monai_ext.select.statistics import Statistics
from monai_ext.select.studies import link_studies
from monai_ext.select.uncertainty import Uncertainty

__all__ = ["main", "select"]

WAYS = ("encoder", "statistics")


def select(
    bundle: str | Path,
    datalist: str | Path,
    dataset_dir: str | Path,
    num: int = 5,
    labelled: Any = None,
    by: str | None = None,
    config: str | Sequence[str] = (),
    out: str | Path | None = None,
    val_fold: int | None = None,
    weights: str | Path | None = None,
    outliers: bool = False,
    studies: str | Path | None = None,
    **settings: Any,
) -> Choice:
    """Choose the patients whose scans are labelled first; arguments are those of :func:`main`.

    Returns:
        The choice.

    Raises:
        ConfigError: a wrong name of a bundle, an overlay or a setting; more patients are asked for than there are.
        DataError: the datalist cannot be used, or none of the scans can.
        CheckpointError: weights cannot be used.
    """
    if not isinstance(num, int) or isinstance(num, bool) or num < 1:
        raise ConfigError(f"--num must be a whole number from 1, not {num!r}")
    if by not in (None, *WAYS):
        raise ConfigError(f"--by {by!r} is none of {', '.join(WAYS)}")
    if weights is not None and not Path(weights).is_file():
        raise CheckpointError(f"{weights}: no such file of weights")
    if str(outliers).lower() not in ("true", "false"):
        raise ConfigError(f"--outliers must be true or false, not {outliers!r}")
    root = Path(find_root(str(bundle)))
    files = config_files(root, "train", split_names(config))
    parser = _parser(files, settings, {"bundle_root": root, "datalist": datalist, "dataset_dir": dataset_dir})
    fold = parser.get_parsed_content("val_fold") if val_fold is None and "val_fold" in parser else val_fold
    place = Path(out) if out is not None else root / "output/select/chosen.json"
    if place.suffix != ".json":
        raise ConfigError(f"--out {place} is a datalist: give a name that ends with .json")
    if place.resolve() == Path(datalist).resolve():
        raise ConfigError(f"--out is --datalist, {place}, whose labels would be lost: give another name")
    patients = read_patients(datalist, dataset_dir, fold, labelled)
    way = by or ("encoder" if has_encoder(parser) else "statistics")
    items = [item for scans in patients.scans.values() for item in scans if case_of(item) not in patients.broken]
    print(f"{len(patients.scans)} patients, {len(patients.labelled)} with labels; compared by {way}", flush=True)
    look = EncoderFeatures(parser) if way == "encoder" else _statistics(parser, items)
    folder = place.parent / "features"
    found = measure(items, look, folder, f"Looking at {len(items)} scans")
    unsure: Measured | None = None
    if weights is not None:
        unsure = measure(items, Uncertainty(parser, str(weights)), folder, "Segmenting them, mirrored too")
    choice, features = _choose(patients, found, unsure, num, str(outliers).lower() == "true")
    write_csv(choice.rows(), place.with_suffix(".csv"))
    _draw(place.with_suffix(".png"), choice, features, patients, found, f"{root.name}: {num} to label, by {way}")
    write_choice(datalist, place, fold, {*choice.chosen, *choice.labelled})
    if studies is not None:
        link_studies(str(studies), choice.chosen, patients.scans, look.preprocessing)
    print(f"\n{choice}\n\nlist: {place.with_suffix('.csv')}; picture: {place.with_suffix('.png')}; datalist: {place}")
    if patients.held_out and not patients.judging:
        print(
            f"note: no patient of the validation fold {fold} has a label, and a training needs some: outline a few too"
        )
    print(_next_step(parser, files, place, patients, choice))
    return choice


def main(
    bundle: str,
    datalist: str,
    dataset_dir: str,
    num: int = 5,
    labelled: str | Sequence[str] | None = None,
    by: str | None = None,
    config: str | Sequence[str] = "",
    out: str | None = None,
    val_fold: int | None = None,
    weights: str | None = None,
    outliers: bool = False,
    studies: str | None = None,
    **settings: Any,
) -> None:
    """Choose the patients whose scans are labelled first, so that a few stand for all.

    The first choice is the most typical patient, each next one covers most of what is not covered yet. Patients are
    compared by what the pretrained encoder sees in the tissue of their scans, or by statistics of the images. Patients
    far from all others, and scans that cannot be read, are named apart and not chosen.

    Chosen from are the patients of the sections training and unlabelled, never those of testing or of the validation
    fold. Written are OUT with the chosen and the labelled patients as training and all others as unlabelled, a list
    (.csv) with a reason for each patient, and a picture (.png). What was measured is kept in features/ beside OUT: the
    same command goes on after an interruption, and the next round reads no scan again.

    Examples:
        D="--datalist d.json --dataset_dir scans"
        python -m monai_ext.select --bundle amlp $D --num 5 --by statistics
        python -m monai_ext.select --bundle amlp $D --config plan.json --pretrained pretrained.pt --out first.json
        python -m monai_ext.select --bundle amlp $D --labelled p3,p7 --weights model.pt --out second.json

    Exit codes: 0 done; 2 a word of the command is wrong; 3 the datalist or all scans cannot be used; 4 weights cannot
    be used; 130 Ctrl-C.

    Args:
        bundle: name of the bundle, or its directory.
        datalist: the JSON of the data set.
        dataset_dir: the directory that its paths are relative to.
        num: patients to choose.
        labelled: patients that have labels: ids separated by commas, the name of a section, or none; by default those
            whose item in training has one.
        by: encoder, what the bundle's pretrained encoder sees (the default where its weights are there), or statistics,
            the only way of a bundle whose training starts from no pretrained encoder.
        config: overlays of the training, separated by commas: plan.json, demo, or a name in configs/variants/.
        out: the datalist to write; by default output/select/chosen.json in the bundle.
        val_fold: fold that trains nothing; by default the bundle's. -1 is no fold.
        weights: of a segmenter that was trained in an earlier round: patients it is unsure of count for more.
        outliers: choose from the outliers too.
        studies: folder in which the chosen scans are linked under numbered names, for MONAI Label's strategy "first".
        **settings: of the bundle's train.json: --pretrained FILE, --device cpu, --modalities "[flair]", ...
    """
    try:
        select(
            bundle,
            datalist,
            dataset_dir,
            num,
            labelled,
            by,
            config,
            out,
            val_fold,
            weights,
            outliers,
            studies,
            **settings,
        )
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


def _parser(files: Sequence[str], settings: Mapping[str, Any], places: Mapping[str, str | Path]) -> ConfigParser:
    """The config of the bundle's training with overlays and settings, checked.

    Raises:
        ConfigError: names the nearest option or setting.
    """
    refuse_misspelt_options(settings, files, select)
    checked = {**settings, **check_command(Command("training", tuple(files), dict(settings)))}
    logging.getLogger("monai.apps").setLevel(logging.WARNING)
    parser = ConfigParser()
    parser.read_config(list(files))
    parser.update({**checked, **{key: str(path) for key, path in places.items()}})
    return parser


def _statistics(parser: ConfigParser, items: Sequence[Item]) -> Statistics:
    """Statistics of the modalities that all items have; those that are computed from others have no file."""
    preprocessing = parser.get_parsed_content("preprocessing")
    naming = preprocessing.naming
    keys = parser.get_parsed_content("modalities") if "modalities" in parser else [naming.first, *naming.siblings]
    stacked = parser.get_parsed_content("stacked") if "stacked" in parser else None
    for item in items:
        resolved = _resolved(preprocessing, item)
        keys = [key for key in keys if resolved.get(key) is not None or resolved.get("image") is not None] or keys
    return Statistics(keys, preprocessing, stacked)


def _resolved(preprocessing: Any, item: Item) -> Mapping[str, Any]:
    try:
        return preprocessing.resolve(item)
    except DataError:  # which the reading of the item says
        return {"image": ""}


def _choose(
    patients: Patients, found: Measured, unsure: Measured | None, num: int, outliers: bool
) -> tuple[Choice, NDArray[np.float64]]:
    """The choice, and the features of the patients in their order."""
    broken = {**found.broken, **(unsure.broken if unsure else {}), **patients.broken}
    cases = {patient: [case_of(item) for item in scans] for patient, scans in patients.scans.items()}
    whole = {patient: [case for case in of if case not in broken] for patient, of in cases.items()}
    seen = [patient for patient, kept in whole.items() if kept]
    if not seen:
        first = next(iter(broken.items()))
        raise DataError(f"none of {len(cases)} patients can be looked at; case {first[0]}: {first[1]}")
    features = patient_features([[found.features[case] for case in whole[patient]] for patient in seen])
    entropy = None
    if unsure is not None:
        entropy = [np.mean([unsure.features[case]["uncertainty"] for case in whole[patient]]) for patient in seen]
    reasons = {patient: broken[of[0]] for patient, of in cases.items() if not whole[patient]}
    return make_choice(seen, features, num, patients.labelled, reasons, outliers, entropy), features


def _draw(
    path: Path, choice: Choice, features: NDArray[np.float64], patients: Patients, found: Measured, title: str
) -> None:
    index = {patient: number for number, patient in enumerate(choice.patients)}
    drawn = [*choice.chosen[:MOST_SLICES], *choice.outliers[:MOST_OUTLIERS]]
    files = {p: next(found.files[c] for c in map(case_of, patients.scans[p]) if c in found.features) for p in drawn}
    slices = {index[patient]: read_kept(file) for patient, file in files.items()}
    chosen, labelled, far = (
        [index[patient] for patient in part if patient in index]
        for part in (choice.chosen, choice.labelled, choice.outliers)
    )
    draw_choice(path, features, chosen, labelled, far, choice.patients, slices, title)


def _next_step(parser: ConfigParser, files: Sequence[str], place: Path, patients: Patients, choice: Choice) -> str:
    """What to do with the choice. Named by hand, weights of a pretraining on the old datalist are used as they are."""
    lacking = [p for p in choice.chosen if not any(item.get("label") for item in patients.scans[p])]
    label = f"outline {', '.join(lacking)} and name the masks in {place} under label; " if lacking else ""
    own = f" --pretrained {parser.get_parsed_content('pretrained')}" if has_encoder(parser) else ""
    config = files[0] if len(files) == 1 else f'"{list(files)}"'
    return f"next: {label}python -m monai.bundle run training --config_file {config} --datalist {place}{own} ..."

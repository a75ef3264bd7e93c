"""Find the studies below a path, run the bundle's inference over them, and say what became of each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import Command, config_files, find_root, find_shipped, setting_of
from monai_ext.command_line import split_names
from monai_ext.data import find_studies, load_studies
from monai_ext.data.entries import Item, named
from monai_ext.data.found_studies import FoundStudies
from monai_ext.data.io.json_file import write_json
from monai_ext.errors import CheckpointError, ConfigError, StudyError
from monai_ext.phases.command import check_command, refuse_misspelt_options
from monai_ext.predict.outcome import Outcome, describe_outcomes, outcomes_of, write_outcomes, written_before
from monai_ext.predict.shares import infer

__all__ = ["main", "predict"]

LINKS = ".series"  # folder below the results for links to DICOM files that lie among others
# Set by the options of predict.
OURS = ("datalist", "dataset_dir", "section", "output_dir", "bundle_root", "model", "ensemble")


def predict(
    input: str | Path | Sequence[Mapping[str, Any]],
    output: str | Path,
    bundle: str | Path,
    weights: str | Path | Sequence[str | Path] | None = None,
    config: str | Sequence[str] = (),
    processes: int = 1,
    section: str | None = None,
    series: str | Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Outcome]:
    """Segment all studies below a path with a bundle: N studies in, N masks or named failures out.

    The bundle's ``configs/inference.json`` is run, as ``python -m monai.bundle run inference`` does. A study is done
    once with the same files, weights and settings: repeated, a call does what is left.

    Args:
        input: a file, a folder of files or of patients' folders, a DICOM export in any order, a datalist (.json); or
            items such as ``{"t2w": path}``.
        output: folder of the results: ``<id>/<id>_seg.nii.gz``, ``studies.csv``, ``report.html``.
        bundle: name of the bundle, or its directory.
        weights: of the network; several are an ensemble, whose mean is taken; or the name of weights that come with the
            bundle, whose settings are taken too. By default those that the bundle's training left in its ``models/``.
        config: overlays: demo, a name in ``configs/variants/``, or a file.
        processes: that share the studies, one on each GPU, or on a share of the cores.
        section: of a datalist; all by default.
        series: which DICOM series is meant where it is not recognised, by words of its description:
            ``{"t2w": "tse_tra"}``, or ``"t2w=tse_tra,adc=ADC"``.
        **settings: of ``inference.json``: ``device="cpu"``, ``mirror=[0]``, ``threshold=0.4``, ``min_ml=0.1``,
            ``largest=True``, ``dicom_seg=True``, ``redo=True``, ...

    Returns:
        What became of each study, in the order in which they were found.

    Raises:
        ConfigError: a wrong name of a bundle, an overlay or a setting, with the nearest one.
        DataError: there is no study, or the only one cannot be done.
        CheckpointError: the weights cannot be used.
    """
    root, folder = Path(find_root(str(bundle))), Path(str(output)).absolute()
    shipped = find_shipped(root, weights)
    files = config_files(root, "inference", [*([str(shipped.overlay)] if shipped else []), *split_names(config)])
    weights = shipped.weights if shipped else weights
    settings = _settings(files, weights, settings)
    if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
        raise ConfigError(f"--processes must be a whole number from 1, not {processes!r}")
    words = _words(series)
    parser = _parser(files, root, settings)
    found = _find(input, folder, parser, section, words)
    for line in found.describe():
        print(line, flush=True)
    count = len(found.items)
    print(f"{count} {'study' if count == 1 else 'studies'} found; results go to {folder}", flush=True)
    listed = {"studies": found.items, "unused": found.unused}
    write_json(listed, folder / "studies.json")
    before = written_before(found.items, folder)
    places = {"bundle_root": root, "datalist": folder / "studies.json", "dataset_dir": folder, "output_dir": folder}
    ours = {key: str(place) for key, place in places.items()} | ({"section": "studies"} if "section" in parser else {})
    failures = infer(Command("inference", tuple(files), {**settings, **ours}), processes)
    outcomes = outcomes_of(found.items, folder, before, failures)
    write_outcomes(outcomes, folder / "studies.csv")
    return outcomes


def main(
    input: str,
    output: str,
    bundle: str,
    weights: str | None = None,
    config: str = "",
    processes: int = 1,
    section: str | None = None,
    series: str | None = None,
    **settings: Any,
) -> None:
    """Segment all studies below a path with a bundle: N studies in, N masks or named failures out.

    INPUT is a file, a folder of files or of patients' folders, a DICOM export in any order, or a datalist (.json).
    Files of one study differ by the modality at the end of their names (p7_t2w.mha, p7_adc.mha, or p7/t2w.mha). DICOM
    series are recognised by their modality and description; what is not used is said. Masks go to
    OUTPUT/<id>/<id>_seg.nii.gz on the grid of the scan, with OUTPUT/studies.csv and OUTPUT/report.html.

    Repeated, the command does what is left: a study is done once with the same files, weights and settings.

    Examples:
        python -m monai_ext.predict --bundle autopet_bixlstm scans/ masks/
        python -m monai_ext.predict --bundle prostate_mae export/ masks/ --dicom_seg --gland centre
        python -m monai_ext.predict --bundle anatomask ct.nii.gz masks/ --weights organs.pt --min_ml 1
        python -m monai_ext.predict --bundle amlp scans/ masks/ --weights f0.pt,f1.pt,f2.pt --mirror 0 --processes 4

    Exit codes: 0 all studies are done; 2 a word of the command is wrong; 3 there is no study, or the only one cannot be
    used; 4 the weights cannot be used; 6 some of several studies failed, the others are done; 130 Ctrl-C.

    Args:
        input: the scans, see above.
        output: folder of the results.
        bundle: name of the bundle, or its directory.
        weights: file of weights; several, separated by commas, are an ensemble; or the name of weights that come with
            the bundle, such as hippocampus. By default those of the bundle's own training.
        config: overlays, separated by commas: demo, a name in configs/variants/, or a file.
        processes: that share the studies, one on each GPU, or on a share of the cores.
        section: of a datalist; all by default.
        series: which DICOM series is meant, by words of its description: "t2w=tse_tra,adc=ADC".
        **settings: of the bundle's inference.json: --device cpu, --mirror 0,1 (test-time mirroring), --threshold 0.4,
            --min_ml 0.1 (smallest component), --largest, --dicom_seg, --gland centre (prostate), --redo, ... All:
            python -m monai_ext.options --bundle BUNDLE --phase inference
    """
    try:
        outcomes = predict(input, output, bundle, weights, config, processes, section, series, **settings)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        sys.exit(130)
    print(f"\n{describe_outcomes(outcomes)}\nmasks: {output}/<id>/<id>_seg.nii.gz; table: {output}/studies.csv")
    if any(outcome.state != "done" and outcome.state != "kept" for outcome in outcomes):
        sys.exit(StudyError.exit_code)


def _settings(files: Sequence[str], weights: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the run, checked before any work.

    Raises:
        ConfigError: names the nearest option or setting.
    """
    settings = {key: [value] if key == "mirror" and isinstance(value, int) else value for key, value in given.items()}
    for key in settings:
        top = setting_of(key)
        if top in OURS:
            said = {"model": "--weights", "ensemble": "--weights FILE,FILE", "output_dir": "OUTPUT"}.get(top, "INPUT")
            raise ConfigError(f"--{key} is set by predict: give {said}")
    refuse_misspelt_options(settings, files, predict)
    paths = [] if weights is None else [weights] if isinstance(weights, Path) else split_names(weights)
    if missing := [str(path) for path in paths if not Path(path).is_file()]:
        raise CheckpointError(f"{missing[0]}: no such file of weights")
    if len(paths) == 1:
        settings["model"] = str(paths[0])
    elif paths:
        settings["ensemble"] = [str(path) for path in paths]
    return settings | check_command(Command("inference", tuple(files), settings))


def _parser(files: Sequence[str], root: Path, settings: Mapping[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(list(files))
    parser.update({**settings, "bundle_root": str(root)})
    return parser


def _words(series: str | Mapping[str, str] | None) -> dict[str, str]:
    if series is None or isinstance(series, Mapping):
        return dict(series or {})
    pairs = [part.partition("=") for part in split_names(series)]
    if wrong := next((key for key, equals, words in pairs if not (equals and words)), None):
        raise ConfigError(f"--series {wrong!r} is not MODALITY=WORDS, such as t2w=tse_tra")
    return {key.strip(): words.strip() for key, _, words in pairs}


def _find(
    input: Any, folder: Path, parser: ConfigParser, section: str | None, words: Mapping[str, str]
) -> FoundStudies:
    """The studies of the input."""
    if isinstance(input, Sequence) and not isinstance(input, str):
        items: list[Item] = named(load_studies(input))
        return FoundStudies(items)
    path = Path(str(input)).expanduser().absolute()
    if path.suffix == ".json":
        return FoundStudies(load_studies(path, section))
    if section is not None:
        raise ConfigError("--section is of a datalist, and INPUT is none")
    if path == folder:
        raise ConfigError(f"INPUT and OUTPUT are one folder, {path}: give another OUTPUT")
    naming = parser.get_parsed_content("preprocessing").naming
    return find_studies(path, naming, folder / LINKS, words, without=folder)

"""Make a bundle of one's own from a bundle, its plan and its weights: ``python -m monai_ext.derive``.

Exit codes: 0; 2 the command is wrong; 4 the weights cannot be used.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import config_files, find_root, find_shipped, setting_of
from monai_ext.command_line import run_commands, split_names
from monai_ext.data.io.image_files import content_hash
from monai_ext.data.io.json_file import write_json
from monai_ext.data.io.record import metrics_behind, read_record, write_record
from monai_ext.errors import ConfigError
from monai_ext.networks import load_weights, read_checkpoint, save_atomically
from monai_ext.phases.chain import Phase, earlier_phases, later_phases, phase_file

__all__ = ["bake", "derive"]

PLACES = ("bundle_root", "run_dir")  # of an overlay, which the new bundle has for itself
DATA = ("datalist", "dataset_dir")  # paths of this machine, if they are no expressions
LABELS = ("detection", "deepedit", "deepgrow", "classification")  # names of other kinds of bundles in MONAI Label
BESIDE = ("gland.pt", "generators")  # what some inference needs too, where it lies beside the weights
LEFT = ("demo.json", "variants")  # rows of the paper's tables, and sizes for the phantom


def derive(
    bundle: str,
    name: str,
    config: str | Sequence[str] = (),
    weights: str | None = None,
    card: str | None = None,
    about: str | None = None,
    out: str = ".",
) -> str:
    """Make a bundle whose defaults are your settings, with your weights: to serve, to share, or to train on.

    The configs of the bundle are written with the settings of the overlays in them, so that no overlay is needed any
    more: MONAI Label serves the new bundle, and ``monai.bundle`` loads it, as they do with any other. What was measured
    with the weights becomes ``eval_metrics`` of its metadata.

    Examples:
        python -m monai_ext.derive --bundle autopet_bixlstm --name sarcoma --config plan.json --weights model.pt
        python -m monai_ext.derive --bundle anatomask --name hippocampus --weights hippocampus

    Args:
        bundle: name of the bundle, or its directory.
        name: of the new bundle and its directory: small letters, digits and underscores.
        config: overlays, separated by commas: plan.json, or a name in configs/variants/.
        weights: file of the trained network, with which gland.pt and generators/ beside it go; or the name of weights
            that come with the bundle, whose overlay and card are taken too.
        card: text for docs/model_card.md: what the weights learned from, and how well they do; their SHA-256 is added.
        about: JSON file with parts of metadata.json, such as {"name": ..., "description": ..., "intended_use": ...}.
        out: the folder that takes the new bundle.

    Returns:
        Where it is.

    Raises:
        ConfigError: the name cannot be used, or is taken.
        CheckpointError: the weights do not fit the network.
    """
    root = Path(find_root(bundle))
    shipped = find_shipped(root, weights)
    overlays = config_files(root, "train", [*([str(shipped.overlay)] if shipped else []), *split_names(config)])[1:]
    place = Path(out).absolute() / _name(name)
    if place.exists():
        raise ConfigError(f"{place} is there already: remove it, or give another --name or --out")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".derive") as temporary:
        made = Path(temporary) / name
        ignored = shutil.ignore_patterns(*LEFT, "models", "weights", "output", "demo", "rows", "mlruns*", ".*")
        shutil.copytree(root, made, ignore=ignored)
        for file, content in bake(root, overlays):
            text = json.dumps(content, indent=4, ensure_ascii=False)
            (made / "configs" / file).write_text(
                text.replace(f"find_root('{root.name}')", f"find_root('{name}')") + "\n", encoding="utf-8"
            )
        source = shipped.weights if shipped else None if weights is None else Path(weights)
        _describe(made, about, {} if source is None else metrics_behind(source))
        if source is not None:
            _add_weights(made, source, card if card is not None or shipped is None else str(shipped.card))
        made.rename(place)
    return f"{place}: {len(list((place / 'configs').glob('*.json')))} configs" + (", weights" if weights else "")


def bake(root: Path, overlays: Sequence[str | Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configs of a bundle with the settings of overlays in them, by their file names.

    As in a run of the chain, an earlier phase gets what it shares with the training, and its own section; a later one,
    which is laid over the training, gets its section.
    """
    written = [ConfigParser.load_config_file(str(file)) for file in overlays]
    train = ConfigParser()
    train.read_config([str(root / "configs/train.json"), *map(str, overlays)])
    train["bundle_root"] = str(root)
    earlier, later = _all_earlier(root), later_phases(train.get())
    for file in sorted((root / "configs").glob("*.json")):
        if file.name in (*LEFT, "metadata.json"):
            continue
        parser = ConfigParser(ConfigParser.load_config_file(str(file)))
        if file.stem in earlier:
            phase = Phase(train, file.stem, files=[str(root / "configs/train.json"), *map(str, overlays)])
            named = {setting_of(key) for overlay in written for key in overlay} | {
                key for overlay in written for key in overlay.get(file.stem, {})
            }
            _set(
                parser,
                {key: value for key, value in phase.settings.items() if key in named or setting_of(key) in named},
            )
        elif file.stem in later:
            for overlay in written:
                _set(parser, overlay.get(file.stem, {}))
        else:
            for overlay in written:
                _set(parser, overlay, [*earlier, *later])
        yield file.name, parser.get()


def _all_earlier(root: Path) -> list[str]:
    """All phases before the training, however far."""
    found: list[str] = []
    left = ["train"]
    while left:
        names = earlier_phases(ConfigParser.load_config_file(str(phase_file(root / "configs", left.pop()))))
        left += [name for name in names if name not in found]
        found += [name for name in names if name not in found]
    return found


def _set(parser: ConfigParser, settings: Mapping[str, Any], sections: Sequence[str] = ()) -> None:
    """Set what a config knows; sections of other phases are added up."""
    config = parser.get()
    for key, value in settings.items():
        top = setting_of(key)
        private = top in DATA and not str(value).startswith("$")
        if key[:1] == "_" or top in PLACES or top not in config or private:
            continue
        parser[key.replace("::", "#")] = {**config[top], **value} if top in sections else value


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"--name {name!r} must be small letters, digits and underscores, a letter first")
    if word := next((word for word in LABELS if word in name), None):
        raise ConfigError(f"--name {name!r} holds {word!r}, by which MONAI Label takes a bundle for another kind")
    return name


def _describe(made: Path, about: str | None, metrics: Mapping[str, float]) -> None:
    """Say in metadata.json what the configs now take and give, what was measured, and what the user says of it."""
    path = made / "configs/metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    config = ConfigParser.load_config_file(str(made / "configs/inference.json"))
    image, pred = metadata["network_data_format"]["inputs"]["image"], metadata["network_data_format"]["outputs"]["pred"]
    if isinstance(modalities := config.get("modalities"), list):
        image |= {"num_channels": len(modalities), "channel_def": {str(i): m for i, m in enumerate(modalities)}}
    if isinstance(organs := config.get("organs"), list):
        classes = {str(i): name for i, name in enumerate(["background", *organs])}
        pred |= {"num_channels": len(classes), "channel_def": classes}
        listed = ", ".join(f"{i}: {name}" for i, name in classes.items())
        metadata |= {"label_classes": listed, "pred_classes": listed}
    if isinstance(size := config.get("img_size"), list) and len(size) == len(image["spatial_shape"]):
        image["spatial_shape"] = pred["spatial_shape"] = size
    if metrics:
        metadata["eval_metrics"] = dict(metrics)
    if about is not None:
        metadata |= ConfigParser.load_config_file(about)
    write_json(metadata, path)


def _add_weights(made: Path, source: Path, card: str | None) -> None:
    """Write the weights in torch's form, once they fit, with the record of what taught them, and their card."""
    parser = ConfigParser()
    parser.read_config(str(made / "configs/inference.json"))
    parser.update({"bundle_root": str(made), "device": "cpu"})
    load_weights(parser.get_parsed_content("network"), source)
    state = read_checkpoint(source)
    model = made / "models/model.pt"
    model.parent.mkdir()
    save_atomically(state.get("model", state), model)
    if record := read_record(source):
        write_record(model, record, metrics_behind(source))
    for beside in BESIDE:
        if (source.parent / beside).is_dir():
            shutil.copytree(source.parent / beside, model.parent / beside)
        elif (source.parent / beside).is_file():
            shutil.copy(source.parent / beside, model.parent)
    if card is not None:
        text = Path(card).read_text(encoding="utf-8").rstrip() + "\n\n"
        (made / "docs/model_card.md").write_text(f"{text}sha256: {content_hash(model)}\n", encoding="utf-8")


if __name__ == "__main__":
    run_commands(derive, name="python -m monai_ext.derive")

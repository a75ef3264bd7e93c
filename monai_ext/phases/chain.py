"""The phases of a method as one chain: each gets the settings it shares with the others, and runs where it is needed.

A phase is a config with a run id and a product. Its key ``phases`` names the phases before it, in their order; each is
a config of that name beside it. A phase may have

- ``product``: the file it makes; null where none is asked for;
- ``wanted``: false where the data does not need it, such as a gland network where every case has a mask;
- ``repeat``: a list of settings, one run each, such as one generator per modality.

A setting that two phases name is one setting, and reaches both, unless it says how a phase learns (:data:`OWN`). A
setting of one phase alone stands in a section of that phase's name: ``--pretrain#max_epochs 20``.

The key ``later`` names the phases after a config. Such a phase goes on with what the config has made, its network, data
and settings: its own config is written over the one before, overlays and command line included, and holds only what is
different. Its section stands over both.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.utils import merge_kv

from monai_ext.bundle import nested_run, setting_of
from monai_ext.data.io.record import describe_origin, differences, read_record, some_of
from monai_ext.errors import ConfigError
from monai_ext.phases.identity import identify, own_places
from monai_ext.processes import wait_for_all

__all__ = [
    "OWN",
    "Phase",
    "earlier_phases",
    "is_shared",
    "laid_over",
    "later_phases",
    "phase_config",
    "phase_file",
    "refuse_another",
    "runnable_ids",
    "section_alone",
    "settings_alone",
    "shared_settings",
]

logger = logging.getLogger(__name__)

# What each phase has for itself: how it learns, the parts that do it, and where its output lies.
OWN = frozenset(
    [
        *("max_epochs", "batch_size", "iterations", "num_crops", "steps", "val_interval", "save_interval", "patience"),
        *(
            "lr",
            "weight_decay",
            "warmup",
            "head_start",
            "momentum",
            "clip_norm",
            "optimizer",
            "lr_scheduler",
            "loss",
            "augmentation",
        ),
        *(
            "network_def",
            "network",
            "train",
            "validate",
            "output_dir",
            "imports",
            "phases",
            "later",
            "product",
            "wanted",
            "repeat",
        ),
        *("initialize", "finalize"),
    ]
)


def earlier_phases(config: Mapping[str, Any]) -> list[str]:
    """Names of the phases before that of a config, the first one first."""
    return list(config.get("phases", ()))


def later_phases(config: Mapping[str, Any]) -> list[str]:
    """Names of the phases after that of a config."""
    return list(config.get("later", ()))


def runnable_ids(config: Mapping[str, Any]) -> list[str]:
    """Ids that do the work of a config: ``run``, what it refers to, and what runs one of these after other phases.

    Example:
        >>> runnable_ids({"lr": 0.1, "run": "$@trainer.run()", "training": ["$prepare()", "@run"]})
        ['run', 'training']
    """
    found = ["run"] if "run" in config else []
    found += [key for key, value in config.items() if key != "run" and re.fullmatch(r"\$.*\.run\(\).*", str(value))]
    while True:
        named = {f"@{key}" for key in found}
        more = [
            key
            for key, value in config.items()
            if key not in found and named & {str(part) for part in (value if isinstance(value, list) else [value])}
        ]
        if str(config.get("run", "")).lstrip("@") in config.keys() - set(found):
            more.append(str(config["run"]).lstrip("@"))
        if not more:
            return sorted(set(found), key=list(config).index)
        found += more


def phase_file(configs: str | Path, phase: str) -> Path:
    """Config of a phase in a bundle's folder of configs."""
    return Path(configs) / f"{phase}.json"


def section_alone(file: str | Path, config: Mapping[str, Any]) -> str:
    """Name of the section that overlays of the chain have for a config; "" where that is a part of the config itself.

    Example:
        >>> section_alone("configs/pretrain.json", {"lr": 1}), section_alone("configs/train.json", {"train": {"lr": 1}})
        ('pretrain', '')
    """
    name = Path(file).stem
    return "" if isinstance(config.get(name), Mapping) else name


def settings_alone(files: Sequence[str | Path]) -> dict[str, Any]:
    """What a phase that is run alone has instead of what MONAI merges, below overlays of the whole chain.

    An overlay with a section of the phase is one of the chain: its section counts, and what it says at the top of how a
    phase learns (:data:`OWN`) is said of the training. So the phase learns as it would in a run of the chain.

    Args:
        files: the phase's config and its overlays, as on the command line.
    """
    own, *overlays = (ConfigParser.load_config_file(str(file)) for file in files)
    name, parser = section_alone(files[0], own), ConfigParser(deepcopy(own))
    if not any(name in overlay for overlay in overlays):
        return {}
    for overlay in overlays:
        if name in overlay:
            shared = {key: v for key, v in overlay.items() if setting_of(key.lstrip("+")) not in OWN | {name}}
            overlay = {**shared, **overlay[name]}
        for key, value in overlay.items():
            merge_kv(parser, key, value)
    merged = ConfigParser.load_config_files([str(file) for file in files])
    return {key: value for key, value in parser.get().items() if key not in merged or merged[key] != value}


def phase_config(configs: str | Path, phase: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a phase around another one's as it is written: a later phase's is laid over that one.

    Args:
        configs: folder of the bundle's configs.
        phase: name of the phase.
        config: that names it in ``phases`` or ``later``.
    """
    written = ConfigParser.load_config_file(str(phase_file(configs, phase)))
    return laid_over(config, written) if phase in later_phases(config) else written


def laid_over(config: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what another one has instead; ``a#b`` of that one is the part b of a."""
    parser = ConfigParser(deepcopy({key: value for key, value in config.items() if key != "_meta_"}))
    for key, value in written.items():
        parser[key.replace("::", "#")] = deepcopy(value)
    return dict(parser.get())


def is_shared(key: str, config: Mapping[str, Any], phase: Mapping[str, Any]) -> bool:
    """Whether a top-level key of two phases' configs is one setting of both."""
    if key not in config or key not in phase or key in OWN or key[:1] == "_":
        return False
    return key not in (*earlier_phases(config), *later_phases(config), *runnable_ids(phase))


def shared_settings(parser: ConfigParser, phase: Mapping[str, Any]) -> dict[str, Any]:
    """What a config hands to an earlier phase.

    A value is handed as it is written, so that the phase evaluates it among its own settings; one that refers to what
    the phase does not have is handed evaluated.

    Args:
        parser: the later phase's config.
        phase: the earlier phase's config.
    """
    config: Mapping[str, Any] = parser.get()
    found = {}
    for key, value in config.items():
        if is_shared(key, config, phase):
            references = parser.ref_resolver.find_refs_in_config(value, key)
            known = all(setting_of(name) in phase for name in references)
            found[key] = value if known else parser.get_parsed_content(key)
    return found


class Phase:
    """An earlier phase, with the settings that the running config hands to it.

    Args:
        parser: the running config.
        name: of the phase.
        own: settings of this run of a repeated phase.
        files: the running config and its overlays, each of which may hold a section of the phase.
    """

    def __init__(
        self, parser: ConfigParser, name: str, own: Mapping[str, Any] | None = None, files: Sequence[str | Path] = ()
    ) -> None:
        self.parser, self.name, self.own, self.files = parser, name, dict(own or {}), files
        configs = Path(parser.get_parsed_content("bundle_root")) / "configs"
        self.file = phase_file(configs, name)
        self.laid = [str(self.file)]
        self.written = ConfigParser.load_config_file(str(self.file))
        sections = {key: self._section(key) for key in earlier_phases(self.written)}
        self.settings = shared_settings(parser, self.written) | sections | self._section(name) | self.own
        self.config = ConfigParser()
        self.config.read_config(str(self.file))
        self.config.update(self.settings)

    def _section(self, phase: str) -> dict[str, Any]:
        """The settings of one phase alone: of all overlays, the last one first, and of the command line.

        MONAI replaces a section by that of the next overlay.
        """
        written = (ConfigParser.load_config_file(str(file)).get(phase, {}) for file in self.files)
        found: dict[str, Any] = {}
        for section in (*written, self.parser.get(phase, {})):
            found |= section
        return {key: value for key, value in found.items() if key[:1] != "_"}

    def get(self, key: str, default: Any) -> Any:
        """A setting of the phase, evaluated."""
        return self.config.get_parsed_content(key) if key in self.config else default

    def runs(self) -> Iterator[Phase]:
        """The runs of the phase: one, or one for each element of ``repeat``."""
        for own in self.get("repeat", [{}]):
            yield Phase(self.parser, self.name, own, self.files) if own else self

    def is_done(self, product: str) -> bool:
        """Whether the product is there and what would make it now has made it.

        Raises:
            ConfigError: something else made the product at its usual place.
        """
        if not os.path.isfile(product):
            return False
        if self._is_named_by_hand():
            logger.info("%s is taken as it is: %s", product, describe_origin(product))
            return True
        if read_record(product) is None:
            logger.info("%s has no record of what made it: %s is run", product, self.name)
            return False
        refuse_another(product, identify(self.config), self.name)
        logger.info("%s is done already: %s", self.name, product)
        return True

    def _is_named_by_hand(self) -> bool:
        """Whether somebody named the product's path, or a folder that it lies in, other than by ``run_dir``."""
        return any(str(self.config.get(key))[:1] not in ("$", "@") for key in own_places(self.written))

    def run(self) -> None:
        """Run the phase in this process; the caller's random numbers go on as if nothing had run.

        So a run starts from the same weights whether its earlier phase came first or was there already.
        """
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(), nested_run():
            workflow = ConfigWorkflow(self.laid, logging_file=False, **self.settings)
            workflow.initialize()
            workflow.run()
            workflow.finalize()
        wait_for_all()
        random.setstate(states[0])
        np.random.set_state(states[1])
        del workflow
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def refuse_another(product: str, now: Mapping[str, Any], name: str) -> None:
    """Refuse the place of a product that something else made.

    Args:
        product: the file; its record, if any, is compared.
        now: what would make it now, or a part of that.
        name: of the phase.

    Raises:
        ConfigError: names what differs.
    """
    before = read_record(product)
    if before is None or not os.path.isfile(product):
        return
    if found := differences({key: before.get(key) for key in now}, now):
        raise ConfigError(
            f"{product} was made by another {name}: {some_of(found)}. Give another --run_dir, or the settings that "
            "made it, or delete it"
        )

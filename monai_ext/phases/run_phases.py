"""Run the phases before and after a config: what a config calls."""

from __future__ import annotations

import logging

from monai_ext.bundle import running_command, running_parser
from monai_ext.networks.published import is_named
from monai_ext.phases.chain import Phase, earlier_phases, later_phases, refuse_another
from monai_ext.phases.identity import identify
from monai_ext.phases.later import LaterPhase
from monai_ext.processes import from_first, is_first

__all__ = ["later_phase", "run_earlier", "run_later"]

logger = logging.getLogger(__name__)


def run_earlier() -> None:
    """Run the phases before the config that calls this, those whose product is not there yet.

    Raises:
        ConfigError: a product, that of this config and of the phases after it included, was made by other settings or
            from other data.
        DataError: a phase after it has no scans to learn from.
    """
    parser = running_parser()
    command = running_command()
    files = () if command is None else command.config_files
    if "device" in parser:
        parser.get_parsed_content("device")  # under torchrun the process joins the others
    if "product" in parser and is_first():
        now = {key: part for key, part in identify(parser).items() if key in ("version", "settings", "data")}
        refuse_another(str(parser.get_parsed_content("product")), now, "training")  # inputs may not be there yet
    for after in _wanted_later():
        after.check()
    for name in earlier_phases(parser.get()):
        phase = Phase(parser, name, files=files)
        if not phase.get("wanted", True):
            continue
        for run in phase.runs():
            product = run.get("product", None)
            if product is None:
                logger.warning("%s is skipped: no file is named for what it makes. Training from scratch", name)
            elif is_named(product):
                logger.info("%s is not needed: %s are published weights", name, product)
            elif not from_first(is_first() and run.is_done(product)):
                logger.info("%s comes first: it makes %s", name, product)
                run.run()


def later_phase(name: str) -> LaterPhase:
    """A phase after the config that calls this."""
    command = running_command()
    return LaterPhase(running_parser(), name, () if command is None else command.config_files)


def _wanted_later() -> list[LaterPhase]:
    """The phases after the config that is evaluated, those that are asked for."""
    phases = [later_phase(name) for name in later_phases(running_parser().get())]
    return [phase for phase in phases if phase.get("wanted", True)]


def run_later() -> None:
    """Run the phases after the config that calls this, those that are asked for."""
    for phase in _wanted_later():
        logger.info("%s comes next: it makes %s", phase.name, phase.get("product", None))
        phase.run()

"""A phase that goes on with what the running config has made, such as self-training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai.bundle import ConfigParser

from monai_ext.phases.chain import Phase, laid_over, phase_file, refuse_another
from monai_ext.phases.identity import identify
from monai_ext.processes import is_first

__all__ = ["LaterPhase"]


class LaterPhase(Phase):
    """A phase after the running one, whose config is laid over the running one's.

    Args:
        parser: the running config.
        name: of the phase.
        files: the running config and its overlays, each of which may hold a section of the phase.
    """

    def __init__(self, parser: ConfigParser, name: str, files: Sequence[str | Path] = ()) -> None:
        self.parser, self.name, self.own, self.files = parser, name, {}, files
        configs = Path(parser.get_parsed_content("bundle_root")) / "configs"
        self.file = phase_file(configs, name)
        self.laid = [str(phase_file(configs, "train")), str(self.file)]
        self.written = ConfigParser.load_config_file(str(self.file))
        self.config = ConfigParser(laid_over(parser.get(), self.written) | {name: {}, "later": []})
        self.config.update(self._section(name))
        self.config.parse()  # which writes references as a record has them
        self.settings = dict(self.config.get())

    def check(self) -> None:
        """Find out what would stop the phase before the one before it begins.

        Raises:
            ConfigError: something else made its product.
            DataError: it has no scans to learn from.
        """
        now = {key: part for key, part in identify(self.config).items() if key in ("version", "settings", "data")}
        if is_first():
            refuse_another(str(self.get("product", "")), now, self.name)
        self.get("scans", None)

    def run(self) -> None:
        """Check, then run the phase in this process."""
        self.check()
        super().run()

"""What the rules of every bundle work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ext.bundle import setting_of
from monai_ext.plan.dataset_facts import DatasetFacts
from monai_ext.plan.device_facts import StepCost, time_step
from monai_ext.plan.pretraining import Pretraining
from monai_ext.plan.schedule import SPARE, Schedule, schedule
from monai_ext.plan.settings import Setting

__all__ = ["Context"]

START = 20.0  # seconds of imports, of the first steps and of the report
FEW_CASES = 20  # labelled patients under which a validation chooses by chance
Trial = Callable[[Mapping[str, Any], Sequence[int], int, str], StepCost]


@dataclass
class Context:
    """A data set, a device and a bundle.

    Attributes:
        root: directory of the bundle.
        configs: content of its configs by phase, as they are on disk: ``train``, ``pretrain``, ...
        facts: of the data set.
        labelled: patients whose labels train.
        minutes: of each phase.
        memory: gibibytes that a run may take.
        names: of the label values, where they are known.
        row: overlays of the row of a table that is planned, such as the stock network; none for the bundle as it is.
        trial: (overrides, shape, batch_size, phase) -> cost of a step; measured by default.
        pretraining: of the encoder to start from, if there is one.
    """

    root: Path
    configs: Mapping[str, Mapping[str, Any]]
    facts: DatasetFacts
    labelled: int
    minutes: float
    memory: float
    names: Mapping[int, str] = field(default_factory=dict)
    row: Sequence[Path] = ()
    trial: Trial | None = None
    pretraining: Pretraining | None = None

    def cost(
        self, overrides: Mapping[str, Any], shape: Sequence[int], batch_size: int, phase: str = "train"
    ) -> StepCost:
        """Cost of a step of a phase's config with these overrides, those of them that the config has."""
        if self.trial is not None:
            return self.trial(overrides, shape, batch_size, phase)
        known = {key: value for key, value in overrides.items() if setting_of(key) in self.configs[phase]}
        files = [self.root / "configs" / f"{phase}.json"]
        files += self.row if phase == "train" else []
        return time_step(files, known, shape, batch_size)

    def config(self, key: str, phase: str = "train") -> Any:
        """What a config has under a key; None where it has nothing."""
        return self.configs.get(phase, {}).get(key)

    def setting(self, key: str, value: Any, reason: str) -> Setting:
        """A line of the plan, beside what the config has."""
        phase, _, name = key.rpartition("#")
        return Setting(key, value, reason, self.config(name, phase or "train"))

    def knows(self, key: str) -> bool:
        """Whether a phase has a key."""
        phase, _, name = key.rpartition("#")
        return any(name in config for name_of, config in self.configs.items() if phase in ("", name_of))

    @property
    def few(self) -> bool:
        """Too few labelled patients to choose an epoch by some of them."""
        return self.labelled < FEW_CASES

    @property
    def ensembles(self) -> bool:
        """Whether several networks are worth their time: few labels, and a row that does not say how many it has."""
        own = ConfigParser.load_config_files([str(file) for file in self.row]) if self.row else {}
        return self.few and "members" not in own

    def seconds_of_steps(self, least: float) -> float:
        """Seconds of the minutes that go into steps, at least so many."""
        return max(least, 60 * self.minutes * SPARE - self.fill(StepCost(1.0, 0.0)).fixed_seconds)

    def fill(self, step: StepCost, per_validation: float = 0.0) -> Schedule:
        """A schedule for the minutes, less the start, the preprocessing of all cases, and one validation.

        These take two fifths of the minutes at most; what they need beyond that, the run takes longer.
        """
        fixed = START + self.facts.seconds_per_case * len(self.facts.spacings) + per_validation
        spared = max(0.0, fixed - 0.4 * 60 * self.minutes)
        run = schedule(self.minutes, step.seconds, fixed - spared)
        return replace(run, fixed_seconds=fixed)

    def last_weights(self) -> list[Setting]:
        """Which weights are kept."""
        why = (
            f"{self.labelled} labelled patients: a best epoch would be chosen by chance"
            if self.few
            else "enough to choose by"
        )
        return [
            self.setting("last_epoch", self.few, why),
            self.setting("patience", None, "the time is what ends a run"),
        ]

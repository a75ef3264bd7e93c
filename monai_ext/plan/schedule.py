"""How many steps the minutes allow, and what rate they are taken at."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ADAMW", "FEW_STEPS", "MEMBERS", "SPARE", "STEPS", "Schedule", "count_members", "schedule"]

FEW_STEPS = 25_000  # a tenth of what nnU-Net's SGD at .01 is made for
SHORT = 4_000  # steps under which weights have to move faster
STEPS = 1000  # a run of fewer has not converged on any data set that we know
MEMBERS = 5  # of an ensemble; further ones hardly change the mean
SPARE = 0.92  # of the time goes into steps; validation, reports and what other programs take are the rest
EPOCHS = 20
ADAMW = {
    "_target_": "torch.optim.AdamW",
    "fused": True,
    "params": "$@network.parameters()",
    "lr": "@lr",
    "weight_decay": "@weight_decay",
}


def count_members(
    seconds: float, step_seconds: float, memory: float = 1.0, gibibytes: float = 0.0, steps: int = STEPS
) -> int:
    """Networks of an ensemble that the time allows so many steps each, at least one and at most five.

    Args:
        seconds: that there are for steps.
        step_seconds: of a step of one network with its own part of the batch.
        memory: gibibytes that a run may take.
        gibibytes: that one network takes.
        steps: beyond which one network gains less than the mean of two with half of them.

    Example:
        >>> count_members(seconds=800, step_seconds=0.2)
        4
    """
    allowed = min(seconds / steps / step_seconds, memory / gibibytes if gibibytes else MEMBERS)
    return max(1, min(MEMBERS, int(allowed)))


@dataclass(frozen=True)
class Schedule:
    """Epochs of a run and steps of an epoch."""

    epochs: int
    iterations: int
    step_seconds: float
    fixed_seconds: float

    @property
    def steps(self) -> int:
        """Of the run."""
        return self.epochs * self.iterations

    @property
    def seconds(self) -> float:
        """What the run will take."""
        return self.steps * self.step_seconds + self.fixed_seconds

    @property
    def few(self) -> bool:
        """Whether plain SGD would not get far."""
        return self.steps < FEW_STEPS

    @property
    def rate(self) -> float:
        """Learning rate of AdamW, with a decay to 0.

        Adam moves a weight by about the rate in each step: with the usual .001 a run of some hundred gets nowhere.
        """
        return 0.003 if self.steps < SHORT else 0.001

    def reason(self) -> str:
        """The arithmetic, in words."""
        return (
            f"{self.steps} steps of {self.step_seconds:.3g} s and {self.fixed_seconds:.0f} s for the rest are "
            f"{self.seconds / 60:.1f} minutes"
        )


def schedule(
    minutes: float, step_seconds: float, fixed_seconds: float, epochs: int = EPOCHS, most: int = 250_000
) -> Schedule:
    """Epochs and steps that fill the minutes.

    Args:
        minutes: of the phase, from the command to its last file.
        step_seconds: of one step with its data.
        fixed_seconds: of the start, the preprocessing, validation and report.
        epochs: to divide the steps into; fewer where there are fewer steps.
        most: steps beyond which a run does not go; nnU-Net's 1000 epochs of 250.

    Returns:
        At least one step.
    """
    steps = min(most, max(1, int((60 * minutes * SPARE - fixed_seconds) / step_seconds)))
    epochs = min(epochs, steps)
    return Schedule(epochs, steps // epochs, step_seconds, fixed_seconds)

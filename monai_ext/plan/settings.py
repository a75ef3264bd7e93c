"""The lines of a plan, and how they are printed and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Plan", "Setting"]


@dataclass(frozen=True)
class Setting:
    """One line of a plan.

    Args:
        key: of the configs; ``phase#key`` for a setting of one earlier phase alone.
        value: what the plan sets.
        reason: the measurement and the rule that it follows from, in a few words.
        paper: the config's own value, the paper's where the paper has one; what the plan departs from.
    """

    key: str
    value: Any
    reason: str
    paper: Any = None

    @property
    def departs(self) -> bool:
        """Whether the plan sets something else than the config has."""
        return _comparable(self.value) != _comparable(self.paper)


@dataclass
class Plan:
    """The settings of a chain, warnings, and what the run will cost."""

    settings: list[Setting] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float | None = None
    gibibytes: float | None = None

    def overlay(self) -> dict[str, Any]:
        """What is written: settings that every phase takes on top, those of one phase in a section of its name."""
        found: dict[str, Any] = {}
        for setting in self.settings:
            phase, _, key = setting.key.rpartition("#")
            target = found.setdefault(phase, {}) if phase else found
            target[key] = setting.value
        return found

    def promise(self) -> dict[str, Any]:
        """What a phase will take, written as ``_plan_``; its report says what it took."""
        if self.seconds is None or self.gibibytes is None:
            return {}
        return {"_plan_": {"minutes": round(self.seconds / 60, 1), "gibibytes": round(self.gibibytes, 3)}}

    def table(self) -> str:
        """One row for each setting: key, value, the config's own value where it differs, reason; then the warnings."""
        rows = [("setting", "plan", "config", "why")]
        rows += [(s.key, _short(s.value), _short(s.paper) if s.departs else "same", s.reason) for s in self.settings]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[3]]).rstrip() for row in rows]
        lines += ["", *(f"warning: {text}" for text in self.warnings)] if self.warnings else []
        return "\n".join(lines)


def _comparable(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_comparable(part) for part in value]
    if isinstance(value, dict):
        return {key: _comparable(part) for key, part in value.items()}
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _short(value: Any, limit: int = 44) -> str:
    if isinstance(value, dict) and "_target_" in value:
        text = value["_target_"].rpartition(".")[2]
    elif isinstance(value, float):
        text = f"{value:.4g}"
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(_short(part) for part in value)}]"
    else:
        text = "null" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

"""What a generator was trained on, written beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_ext.data import fingerprint
from monai_ext.data.io.json_file import write_json
from monai_ext.processes import is_first
from monai_ext.versions import versions

__all__ = ["GeneratorRecord"]


class GeneratorRecord:
    """Write ``adc.json`` beside ``adc.pt`` when the training ends: patients, fingerprint of the weights, settings.

    Without it no anomaly map is made, because a leak could not be detected.

    Args:
        network: generator whose weights were trained.
        weights: path of the generator's weights.
        patients: all patients that the generator was trained on.
        settings: further facts to record: method, modality, scheme.
    """

    def __init__(
        self, network: nn.Module, weights: str, patients: Sequence[str], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.network, self.weights, self.settings = network, Path(weights), dict(settings or {})
        self.patients = sorted({str(patient) for patient in patients})

    def attach(self, engine: Engine) -> None:
        """Write at the end of the run; attach it after what saves the weights."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write now, in one process."""
        if not is_first():
            return
        content = {
            "training_patients": self.patients,
            "generator": fingerprint(self.network.state_dict()),
            "settings": self.settings,
            "versions": versions(),
        }
        write_json(content, self.weights.with_suffix(".json"))

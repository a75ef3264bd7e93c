"""What is a phase of a method and no training step: the chain, its start, the identity of what it makes."""

from monai_ext.phases.gland import GlandTraining
from monai_ext.phases.mapping import MapPhase
from monai_ext.phases.run_phases import later_phase, run_earlier, run_later
from monai_ext.phases.start import start
from monai_ext.phases.threshold_fit import fit_threshold

__all__ = ["GlandTraining", "MapPhase", "fit_threshold", "later_phase", "run_earlier", "run_later", "start"]

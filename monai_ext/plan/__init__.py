"""One overlay for a whole chain of phases, from what a data set and a device are measured to be."""

from .dataset_facts import DatasetFacts, measure_dataset
from .planner import plan
from .settings import Plan, Setting

__all__ = ["DatasetFacts", "Plan", "Setting", "measure_dataset", "plan"]

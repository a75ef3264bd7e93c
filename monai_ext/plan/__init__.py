"""One overlay for a whole chain of phases, from what a data set and a device are measured to be."""

from monai_ext.plan.dataset_facts import DatasetFacts, measure_dataset
from monai_ext.plan.planner import plan
from monai_ext.plan.settings import Plan, Setting

__all__ = ["DatasetFacts", "Plan", "Setting", "measure_dataset", "plan"]

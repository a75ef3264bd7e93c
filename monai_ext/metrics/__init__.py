"""What a segmentation is measured by, and with what certainty."""

from .overlap import Overlap, foreground, overlap
from .slice_dice import SliceDice, SliceDiceMetric
from .summary import Summary, summarize
from .table import MetricTable

__all__ = [
    "MetricTable",
    "Overlap",
    "SliceDice",
    "SliceDiceMetric",
    "Summary",
    "foreground",
    "overlap",
    "summarize",
]

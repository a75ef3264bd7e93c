"""What a segmentation is measured by, and with what certainty."""

from .boundary_iou import boundary_distance, boundary_iou
from .case_metrics import CaseMetrics, CaseMetricsMetric, scan_metrics
from .detection import Detection, Estimate, evaluate_detection
from .detection_score import DetectionScore
from .hausdorff import hausdorff95
from .lesion_scores import LesionScores, LesionScoresMetric
from .lesion_uptake import lesion_uptake
from .lesion_volumes import false_negative_volume, false_positive_volume
from .map_quality import psnr_inside, ssim_inside, trivial_maps, voxel_ap, voxel_auroc
from .organs import OrganMetric, OrganMetrics, class_dice
from .overlap import Overlap, dice, foreground, iou, overlap
from .per_case import PerCase
from .sensitivity import sensitivity
from .slice_dice import SliceDice, SliceDiceMetric
from .summary import Summary, summarize
from .surface_dice import surface_dice
from .table import MetricTable

__all__ = [
    "CaseMetrics",
    "CaseMetricsMetric",
    "Detection",
    "DetectionScore",
    "Estimate",
    "LesionScores",
    "LesionScoresMetric",
    "MetricTable",
    "OrganMetric",
    "OrganMetrics",
    "Overlap",
    "PerCase",
    "SliceDice",
    "SliceDiceMetric",
    "Summary",
    "boundary_distance",
    "boundary_iou",
    "class_dice",
    "dice",
    "evaluate_detection",
    "false_negative_volume",
    "false_positive_volume",
    "foreground",
    "hausdorff95",
    "iou",
    "lesion_uptake",
    "overlap",
    "psnr_inside",
    "scan_metrics",
    "sensitivity",
    "ssim_inside",
    "summarize",
    "surface_dice",
    "trivial_maps",
    "voxel_ap",
    "voxel_auroc",
]

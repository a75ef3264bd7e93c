"""Metrics of segmentations, with their confidence intervals."""

from monai_ext.metrics.boundary_iou import boundary_distance, boundary_iou
from monai_ext.metrics.bridge import CaseBridge, CaseTable
from monai_ext.metrics.case_metrics import CaseMetrics, scan_metrics
from monai_ext.metrics.click_scores import ClickScores
from monai_ext.metrics.counterfactual import change_outside, difference_correlation, removed_share
from monai_ext.metrics.crossed import CrossedSummary, summarize_crossed
from monai_ext.metrics.crossed_detection import summarize_detections
from monai_ext.metrics.detection import Detection, Estimate, evaluate_detection
from monai_ext.metrics.detection_score import DetectionScore
from monai_ext.metrics.hausdorff import hausdorff95
from monai_ext.metrics.lesion_candidates import LesionCandidate, lesion_candidates
from monai_ext.metrics.lesion_recall import lesion_recall
from monai_ext.metrics.lesion_scores import LesionScores
from monai_ext.metrics.lesion_uptake import lesion_uptake, numbered_lesions, suv_peak
from monai_ext.metrics.lesion_volumes import false_negative_volume, false_positive_volume
from monai_ext.metrics.map_quality import psnr_inside, ssim_inside, trivial_maps, voxel_ap, voxel_auroc
from monai_ext.metrics.organs import OrganMetrics, class_dice
from monai_ext.metrics.overlap import Overlap, dice, foreground, iou, overlap
from monai_ext.metrics.per_case import PerCase
from monai_ext.metrics.reconstruction_skill import ReconstructionSkill, tissue_patches
from monai_ext.metrics.sensitivity import sensitivity
from monai_ext.metrics.slice_dice import SliceDice
from monai_ext.metrics.summary import Summary, summarize
from monai_ext.metrics.surface_dice import surface_dice
from monai_ext.metrics.table import MetricTable

__all__ = [
    "CaseBridge",
    "CaseMetrics",
    "CaseTable",
    "ClickScores",
    "CrossedSummary",
    "Detection",
    "DetectionScore",
    "Estimate",
    "LesionCandidate",
    "LesionScores",
    "MetricTable",
    "OrganMetrics",
    "Overlap",
    "PerCase",
    "ReconstructionSkill",
    "SliceDice",
    "Summary",
    "boundary_distance",
    "boundary_iou",
    "change_outside",
    "class_dice",
    "dice",
    "difference_correlation",
    "evaluate_detection",
    "false_negative_volume",
    "false_positive_volume",
    "foreground",
    "hausdorff95",
    "iou",
    "lesion_candidates",
    "lesion_recall",
    "lesion_uptake",
    "numbered_lesions",
    "overlap",
    "psnr_inside",
    "removed_share",
    "scan_metrics",
    "sensitivity",
    "ssim_inside",
    "summarize",
    "summarize_crossed",
    "summarize_detections",
    "surface_dice",
    "suv_peak",
    "tissue_patches",
    "trivial_maps",
    "voxel_ap",
    "voxel_auroc",
]

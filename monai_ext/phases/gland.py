"""Train the network that finds the gland where no mask is given (prostate MAE, A.1; adU-Net, III.A)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from monai.transforms import (
    AsDiscreted,
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
)

from monai_ext.data import TrainLoader, VolumeDataset, load_datalist
from monai_ext.data.entries import Folds, Item, read_datalist
from monai_ext.engines import SegmentationTrainer
from monai_ext.errors import DataError
from monai_ext.handlers import LearningRate, TrainingRun
from monai_ext.transforms import GlandPreprocessing, gland_unet

__all__ = ["GlandTraining", "gland_augmentation"]


def gland_augmentation() -> Compose:
    """Random changes of ``image`` and ``label`` ``[1, X, Y, Z]``, so that a network finds glands of other scanners.

    Scans of any field of view fill the same grid, so the size of a gland in it varies far more than glands do; coils
    and protocols change brightness and contrast.
    """
    keys, image = ["image", "label"], ["image"]
    moved: dict[str, Any] = {"rotate_range": (0.1, 0.1, 0.2), "scale_range": (0.35, 0.35, 0.2)}
    moved |= {"translate_range": (12, 12, 4), "mode": ("bilinear", "nearest"), "padding_mode": "border"}
    return Compose(
        [
            RandFlipd(keys, prob=0.5, spatial_axis=0),  # the patient's left and right
            RandAffined(keys, prob=1.0, **moved),
            RandBiasFieldd(image, prob=0.5, degree=2, coeff_range=(0.0, 0.3)),
            RandAdjustContrastd(image, prob=0.5, gamma=(0.6, 1.7)),
            RandGaussianNoised(image, prob=0.3, std=0.15),
        ]
    )


class GlandTraining:
    """A 3-D U-Net on T2W, small enough for a CPU, that learns the gland from the cases that have a mask.

    AdamW with a cosine schedule, Dice and cross entropy, :func:`gland_augmentation`; the validation fold picks the
    epoch by its Dice. Cases without a mask are left out.

    Args:
        datalist: cases with ``t2w``, and ``gland`` or ``zones`` where somebody drew them.
        dataset_dir: the directory that its paths are relative to.
        weights: file of the network's weights, the phase's product.
        output_dir: takes checkpoint, report and curves.
        cache_dir: where prepared volumes are kept.
        device: where to train.
        val_fold: the fold that picks the epoch.
        zones: learn from the union of peripheral and transition zone where a case has them.
        size: voxels of the copy of a scan that the network sees, see :class:`monai_ext.transforms.GlandPredictor`.
        max_epochs: epochs.
        batch_size: scans of a step.
        lr: learning rate.
        seed: of weights, order and augmentation.
        resume: go on from the last checkpoint.
        num_workers: processes that prepare and load scans.
    """

    def __init__(
        self,
        datalist: str | Path,
        dataset_dir: str | Path,
        weights: str,
        output_dir: str,
        cache_dir: str,
        device: torch.device,
        val_fold: Folds = 0,
        zones: bool = False,
        size: Sequence[int] = (96, 96, 32),
        max_epochs: int = 200,
        batch_size: int = 2,
        lr: float = 1e-3,
        seed: int = 0,
        resume: bool = False,
        num_workers: int = 0,
    ) -> None:
        self.datalist, self.dataset_dir, self.val_fold = datalist, dataset_dir, val_fold
        self.weights, self.output_dir, self.cache_dir, self.device = weights, output_dir, cache_dir, device
        self.max_epochs, self.batch_size, self.lr, self.num_workers = max_epochs, batch_size, lr, num_workers
        self.seed, self.resume = seed, resume
        self.preprocessing = GlandPreprocessing(size, zones=zones)

    def is_wanted(self) -> bool:
        """Whether a case of any section has no mask of the gland, neither named nor beside its T2W file."""
        sections = [name for name, items in read_datalist(self.datalist).items() if items]
        return not all(self._has_mask(item) for item in load_datalist(self.datalist, self.dataset_dir, sections))

    def _has_mask(self, item: Item) -> bool:
        data: dict[Hashable, Any] = dict(item.items())
        return "gland" in self.preprocessing.resolve(data)

    def _volumes(self, **which: Any) -> VolumeDataset:
        items = load_datalist(self.datalist, self.dataset_dir, **which)
        known = [item for item in items if self._has_mask(item)]
        if not known:
            fold = f"fold {self.val_fold}" if "folds" in which else "training"
            remedy = "Draw the gland in some T2W scans, or name weights of a gland network (--gland_weights FILE)."
            raise DataError(f"no case of {fold} has a mask of the gland to learn from", remedy, file=self.datalist)
        return VolumeDataset(known, self.preprocessing, self.cache_dir, num_workers=self.num_workers)

    def run(self) -> None:
        """Train.

        Raises:
            DataError: no case of the training or of the validation fold has a mask.
        """
        training = Dataset(self._volumes(exclude_folds=self.val_fold), gland_augmentation())
        network = gland_unet().to(self.device)
        loader = TrainLoader(training, self.batch_size, self.num_workers)
        evaluator = SupervisedEvaluator(
            self.device,
            DataLoader(self._volumes(folds=self.val_fold)),
            network,
            postprocessing=AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=2),
            key_val_metric={
                "val_gland_dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
            },
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.lr, fused=True)
        run = TrainingRun(
            "gland",
            self.output_dir,
            self.weights,
            lr_scheduler=LearningRate("cosine"),
            evaluator=evaluator,
            val_interval=5,
            save_interval=5,
            seed=self.seed,
            resume=self.resume,
        )
        loss = DiceCELoss(softmax=True, to_onehot_y=True)
        SegmentationTrainer(
            self.device, self.max_epochs, loader, network, optimizer, loss, SimpleInferer(), [run]
        ).run()

"""Facts about each bundle that the tests of faults need, and small data sets for them to damage."""

import gzip
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_ext.data import phantom

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Subject:
    """A bundle under test.

    ``first`` is the image that defines the grid, ``second`` another modality if there is one, ``spacing`` in mm thins
    the phantom out, ``overlay`` makes the network small in every config, ``train`` makes a training short.
    """

    name: str
    phantom: str
    first: str
    second: str | None
    spacing: tuple[float, float, float]
    overlay: dict
    train: dict = field(default_factory=dict)
    resampled: bool = True  # modalities on other grids are resampled onto the first
    needs_foreground: bool = True  # training without any foreground is an error, else a warning
    wrong_count: int = 2  # volumes in a stacked file that are not as many as the modalities
    classes: int = 2  # channels of the prediction
    learning_rate: str = "lr"

    def config(self, file):
        return ROOT / "bundles" / self.name / "configs" / file


NETS = "monai_ext.networks.nets"
ENCODER = {"embed_dim": 48, "depth": 1, "num_heads": 3}
SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject(
            "prostate_mae",
            "bpmri",
            first="t2w",
            second="adc",
            spacing=(3.2, 3.2, 6),
            overlay={
                "network_def": {"_target_": f"{NETS}.MAESegmenter", "in_channels": 3, "num_classes": 2, **ENCODER},
                "preprocessing": {
                    "_target_": "monai_ext.transforms.BpMRIPreprocessing",
                    "resample_size": [96, 96, 8],
                    "img_size": [88, 88, 8],
                },
            },
            train={"pretrained": "null", "max_epochs": 1, "frozen_epochs": 0, "batch_size": 8, "min_lesion_pixels": 1},
            learning_rate="decoder_lr",
        ),
        Subject(
            "amlp",
            "brain_mr",
            first="flair",
            second="t1ce",
            spacing=(3, 3, 8),
            overlay={
                "modalities": ["flair", "t1ce"],
                "img_size": [64, 64],
                "spacing": [3, 3, 8],
                "features": [4, 8, 8, 8, 8],
            },
            train={"pretrained": "null", "max_epochs": 1, "batch_size": 4, "train#handlers#2#save_interval": 1},
            wrong_count=3,
        ),
        Subject(
            "anatomask",
            "ct_multiorgan",
            first="image",
            second=None,
            spacing=(6, 6, 6),
            overlay={"model_size": [4, 1], "spacing": [8, 8, 8], "levels": 3, "crop_size": [32, 32, 32]},
            train={"pretrained": "null", "max_epochs": 1, "num_crops": 2, "val_interval": 1},
            classes=11,
            needs_foreground=False,
        ),
        Subject(
            "autopet_bixlstm",
            "petct",
            first="pet",
            second="ct",
            spacing=(6, 6, 6),
            overlay={
                "spacing": [8, 8, 8],
                "crop_size": [32, 32, 32],
                "channels": [4, 8, 8],
                "strides": [1, 2, 2],
                "position": "none",
            },
            train={"pretrained": "null", "max_epochs": 1, "iterations": 1, "val_interval": 1},
            needs_foreground=False,
            wrong_count=3,
        ),
        Subject(
            "adunet_anomaly",
            "bpmri",
            first="t2w",
            second="adc",
            spacing=(3.2, 3.2, 6),
            overlay={
                "map_modalities": [],
                "spacing": [2, 2, 6],
                "crop_size": [32, 32, 8],
                "channels": [4, 8, 8],
                "strides": [1, 2, 2],
                "network_def#blocks": [1, 1, 1],
                "network_def#decoder_blocks": [1, 1],
            },
            train={"max_epochs": 1, "iterations": 1, "val_interval": 1},
            needs_foreground=False,
        ),
    )
    if (ROOT / "bundles" / subject.name).is_dir()
}


def shrink(subject, folder):
    """A thinned-out copy of the phantom with two training, one validation and one test case."""
    source = Path(phantom(subject.phantom))
    sections = json.loads((source / "datalist.json").read_text())
    kept = [
        *[i for i in sections["training"] if i["fold"] != 0][:2],
        *[i for i in sections["training"] if i["fold"] == 0][:1],
    ]
    sections = {"training": kept, "testing": sections["testing"][:1]}
    for item in (*kept, *sections["testing"]):
        for value in item.values():
            if str(value).endswith(".nii.gz"):
                image = nib.load(source / value)
                step = [max(1, round(wanted / size)) for wanted, size in zip(subject.spacing, image.header.get_zooms())]
                (folder / value).parent.mkdir(parents=True, exist_ok=True)
                nib.save(image.slicer[:: step[0], :: step[1], :: step[2]], folder / value)
    (folder / "datalist.json").write_text(json.dumps(sections))


class DataSet:
    """A copy of the small data set in which a test breaks things; whole files are links, so that nothing is shared."""

    def __init__(self, source, folder):
        self.root = Path(folder)
        shutil.copytree(source, self.root, copy_function=os.symlink)
        self.path = self.root / "datalist.json"
        self.sections = json.loads(self.path.read_text())
        self.save()

    @property
    def case(self):
        """The item that tests break: the first of the training fold."""
        return self.sections["training"][0]

    def file(self, key, item=None):
        return self.root / (item or self.case)[key]

    def save(self):
        self.path.unlink(missing_ok=True)
        self.path.write_text(json.dumps(self.sections))

    def bytes(self, key, change, item=None):
        """Replace a file's bytes by ``change(bytes)``."""
        path = self.file(key, item)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(change(content))

    def header(self, key, offset, values):
        """Overwrite part of a NIfTI-1 header, as no library would."""
        raw = np.asarray(values).tobytes()

        def change(content):
            whole = bytearray(gzip.decompress(content))
            whole[offset : offset + len(raw)] = raw
            return gzip.compress(bytes(whole))

        self.bytes(key, change)

    def array(self, key, change, item=None, affine=None):
        """Replace an image's voxels by ``change(voxels)``."""
        path = self.file(key, item)
        image = nib.load(path)
        values = np.asarray(change(np.asarray(image.dataobj)))
        path.unlink()
        nib.save(nib.Nifti1Image(values, image.affine if affine is None else affine), path)

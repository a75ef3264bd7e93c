"""Write predictions as DICOM-SEG objects on their source series, for PACS and viewers."""

from __future__ import annotations

import json
import logging
import re
import uuid
import warnings
from collections.abc import Hashable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_ext.data.io.dicom_stack import check_series
from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import ConfigError, DataError

__all__ = ["SaveDicomSegd", "dicom_seg", "read_series"]

INSTALLED = bool(find_spec("highdicom") and find_spec("pydicom"))  # imported on use: they take half a second

logger = logging.getLogger(__name__)

ABNORMAL = ("lesion", "tumor", "tumour", "cancer", "neoplasm", "metastasis", "abnormality")
# Tags that every DICOM object has, if only blank, and that anonymizers remove.
REPEATED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
CONCEPTS = {"tumor": "neoplasm", "tumour": "neoplasm", "cancer": "malignant neoplasm"}
LPS_FROM_RAS = np.diag(
    [-1.0, -1.0, 1.0, 1.0]
)  # DICOM counts to the left and back, NIfTI and MONAI to the right and front


def read_series(folder: str | Path) -> list[Any]:
    """The images of a directory that holds one DICOM series.

    Anonymizers blank UIDs, to which a DICOM-SEG refers. A blank UID of an image is taken from its file's header; blank
    UIDs of study and series are made up, the same at each reading. Both give a warning. What a DICOM-SEG repeats of
    patient and study, and the images do not have, stays blank.

    Raises:
        DataError: there is no series or several, or the stack is uneven
            (:func:`monai_ext.data.io.dicom_stack.check_series`).
    """
    import pydicom  # late: optional

    check_series(Path(folder))
    images = []
    for path in sorted(Path(folder).iterdir()):
        if path.is_file() and pydicom.misc.is_dicom(path):
            dataset = pydicom.dcmread(path)
            if "PixelData" in dataset and "ImagePositionPatient" in dataset:
                images.append(_with_uids(dataset, Path(folder)))
    return images


def _with_uids(image: Any, folder: Path) -> Any:
    import highdicom  # late: optional

    if not (image.get("SOPClassUID") and image.get("SOPInstanceUID")):
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if not image.get(keyword):
            warnings.warn(f"{folder}: the images have no {keyword}; viewers cannot match a DICOM-SEG", stacklevel=3)
            made = uuid.uuid5(uuid.NAMESPACE_OID, f"{keyword} {folder.resolve()}")
            setattr(image, keyword, highdicom.UID.from_uuid(str(made)))
    for keyword in REPEATED:
        if keyword not in image:
            setattr(image, keyword, "")
    return image


def _concepts(name: str) -> tuple[Any, Any]:
    """SNOMED CT codes of a segment's category and type; a private code if DICOM's SNOMED subset lacks the name."""
    from highdicom.sr.coding import CodedConcept  # late: optional
    from pydicom.sr.codedict import codes  # late: optional

    words = re.split(r"[\s_-]+", name.lower())
    abnormal = any(word in ABNORMAL for word in words)
    category = codes.SCT.MorphologicallyAbnormalStructure if abnormal else codes.SCT.AnatomicalStructure
    for known in (name.lower(), *(words if abnormal else ())):
        keyword = "".join(word.capitalize() for word in re.split(r"[\s_-]+", CONCEPTS.get(known, known)))
        if hasattr(codes.SCT, keyword):
            return category, getattr(codes.SCT, keyword)
    value = re.sub(r"\W+", "_", name.upper())[:16]
    return category, CodedConcept(value, "99MONAI_EXT", name[:64])


def dicom_seg(
    mask: np.ndarray,
    affine: np.ndarray,
    source: list[Any],
    segments: Mapping[int, str],
    algorithm: str,
    version: str,
    description: str = "",
) -> Any:
    """A DICOM-SEG object (one binary segment per label) on the images of a series.

    Nothing is resampled: axes are permuted and flipped onto the rows and columns of the source.

    Args:
        mask: integers ``[X, Y, Z]``; 0 is background.
        affine: ``[4, 4]`` voxel to mm, RAS.
        source: the images of the series, see :func:`read_series`.
        segments: names by label value; a label that is absent from the mask becomes an empty segment.
        algorithm: name of the algorithm that made the mask.
        version: version of the algorithm.
        description: description of the new series; if empty, the algorithm's name.

    Returns:
        A ``highdicom.seg.Segmentation``, which is a pydicom data set.

    Raises:
        ConfigError: highdicom is not installed.
        DataError: the mask does not lie on the grid of the series or holds a value without a name.
    """
    if not INSTALLED:
        raise ConfigError("DICOM-SEG needs highdicom: pip install 'monai-ext[dicom]'")
    import highdicom  # late: optional
    from highdicom.seg import (
        SegmentAlgorithmTypeValues,
        SegmentDescription,
    )  # late: optional
    from pydicom.sr.codedict import codes  # late: optional

    if unknown := set(np.unique(mask).tolist()) - {0, *segments}:
        raise DataError(f"the mask holds {sorted(unknown)}, which have no name", f"Named are {dict(segments)}.")
    labels = sorted(segments)
    numbered = np.zeros(mask.shape, np.uint8 if len(labels) < 256 else np.uint16)
    for number, label in enumerate(labels, 1):  # DICOM numbers segments without gaps
        numbered[mask == label] = number
    try:
        grid = highdicom.get_volume_from_series(source).get_geometry()
        volume = highdicom.Volume(
            numbered,
            affine=LPS_FROM_RAS @ np.asarray(affine, float),
            coordinate_system="PATIENT",
            frame_of_reference_uid=source[0].FrameOfReferenceUID,
        )
        placed = volume.match_geometry(grid, tol=1e-3)
    except (RuntimeError, ValueError) as error:
        cause = f"the mask does not lie on the grid of DICOM series {source[0].SeriesInstanceUID}: {error}"
        raise DataError(cause, "Was it made from this series?") from error
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm[:64], version=version, family=codes.DCM.ArtificialIntelligence
    )
    descriptions = []
    for number, label in enumerate(labels, 1):
        category, kind = _concepts(segments[label])
        descriptions.append(
            SegmentDescription(
                segment_number=number,
                segment_label=segments[label][:64],
                segmented_property_category=category,
                segmented_property_type=kind,
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=identification,
            )
        )
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # it tells each module that it copies
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The string .* is unlikely to represent the intended person name")
        return _segmentation(source, placed, descriptions, algorithm, version, description, bool(numbered.any()))


def _segmentation(
    source: list[Any], placed: Any, descriptions: list[Any], algorithm: str, version: str, description: str, found: bool
) -> Any:
    import highdicom  # late: optional
    from highdicom.seg import Segmentation, SegmentationTypeValues  # late: optional

    return Segmentation(
        source_images=source,
        pixel_array=placed,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="monai-ext contributors",
        manufacturer_model_name=algorithm[:64],
        software_versions=version,
        device_serial_number="none",
        content_description="Research use only",
        series_description=(description or algorithm)[:64],
        omit_empty_frames=found,
    )


class SaveDicomSegd(MapTransform):
    """Write label maps as ``<output_dir>/<id>/<id>_seg.dcm`` on the DICOM series from which the case was read.

    Apply it to decollated items after the label map is back on the scan's own grid. The bundle's ``metadata.json``
    names the segments and the algorithm. A case that was not read from DICOM is left out with a warning.

    Args:
        keys: keys of the label maps ``[1, X, Y, Z]``.
        bundle_root: directory of the bundle.
        output_dir: folder of the files.
        reference: key of the network's input, whose metadata name the series.
        segments: names of the segments in order, in place of the metadata's.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        ConfigError: highdicom is not installed.
        DataError: see :func:`dicom_seg` and :func:`read_series`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        bundle_root: str | Path,
        output_dir: str | Path,
        reference: str = "image",
        segments: Sequence[str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not INSTALLED:
            raise ConfigError("DICOM-SEG needs highdicom: pip install 'monai-ext[dicom]'")
        self.output_dir, self.reference = Path(output_dir), reference
        metadata = json.loads((Path(bundle_root) / "configs/metadata.json").read_text())
        self.algorithm, self.version = metadata["name"], metadata["version"]
        channels = next(iter(metadata["network_data_format"]["outputs"].values()))["channel_def"]
        named = {int(k): v for k, v in channels.items() if v.lower() != "background"}
        self.segments = named if segments is None else dict(enumerate(segments, 1))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the label maps of one item."""
        item = dict(data)
        folder = Path(str(item[self.reference].meta["filename_or_obj"]))
        if not folder.is_dir():
            logger.warning("%s is no DICOM series: no DICOM-SEG is written", folder)
            return item
        for key in self.key_iterator(item):
            mask = item[key]
            values = torch.as_tensor(mask)[0].cpu().numpy().astype(np.int64)
            series = read_series(folder)
            segmentation = dicom_seg(
                values, np.asarray(mask.affine), series, self.segments, self.algorithm, self.version
            )
            case = str(item.get("id", folder.name))
            path = self.output_dir / case / f"{case}_seg.dcm"
            with whole_file(path) as temporary:
                segmentation.save_as(temporary)
            logger.info("DICOM-SEG: %s", path)
        return item

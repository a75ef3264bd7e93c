"""Write predictions atomically."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection, PathLike
from monai.data import NibabelWriter
from monai.transforms import SaveImaged

from monai_ext.data.io.whole_file import whole_file
from monai_ext.errors import ConfigError

__all__ = ["SavePredictiond"]

logger = logging.getLogger(__name__)


class WholeFileWriter(NibabelWriter):
    """MONAI's writer of NIfTI through :func:`whole_file`."""

    def write(self, filename: PathLike, verbose: bool = True, **kwargs: Any) -> None:
        """Write the array, and log its final name, not the temporary one."""
        with whole_file(str(filename)) as temporary:
            super().write(temporary, verbose=False, **kwargs)
        if verbose:
            logger.info("written: %s", filename)


class SavePredictiond(SaveImaged):
    """Write predictions as ``<output_dir>/<id>/<id>_<postfix>.nii.gz`` on their current grid.

    A full disk leaves no partial file and keeps the prediction of an earlier run.

    Args:
        keys: keys of the predictions ``[C, X, Y, Z]``.
        output_dir: folder of all cases.
        output_postfix: postfix of the file names.
        output_dtype: data type of the voxels.
        allow_missing_keys: skip keys an item does not have.

    Raises:
        ConfigError: a file cannot be written.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        output_postfix: str,
        output_dtype: Any = "float32",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(
            keys,
            output_dir=output_dir,
            output_postfix=output_postfix,
            output_dtype=output_dtype,
            resample=False,
            writer=WholeFileWriter,
            allow_missing_keys=allow_missing_keys,
        )
        self.output_dir = output_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write ``self.keys`` of one item."""
        try:
            return super().__call__(data)
        except (RuntimeError, OSError) as error:
            # MONAI joins the errors of its writers into one text, whose last line names the cause.
            reason = str(error).strip().splitlines()[-1].removeprefix("OSError: ")
            case = f"the prediction of case {data['id']}" if "id" in data else "a prediction"
            remedy = "What was there before is untouched. Free some space, or give another --output_dir"
            raise ConfigError(f"cannot write {case} to {self.output_dir}: {reason}. {remedy}") from error

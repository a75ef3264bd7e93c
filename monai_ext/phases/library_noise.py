"""What libraries say on every run and no reader can act on."""

from __future__ import annotations

import logging
import warnings

__all__ = ["quiet_libraries"]

NOISE = (
    "parsing config_file",  # MONAI, of every config
    "Setting affine, but the applied meta",  # MONAI, of every prediction that is placed
    "NvImgCodec",  # MONAI: a GPU decoder that is not used here
    ".*always_return_as_numpy",  # MONAI's own call of its deprecated argument
    "torch.meshgrid: in an upcoming release",  # MONAI's position embedding
)
LOGGED = (  # by MONAI's workflows: of overlays that lie elsewhere, and of each phase of a chain
    "Not all config files are in",
    "Logging file is set to False",
)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(LOGGED)


def quiet_libraries() -> None:
    """Leave these warnings out, and no others."""
    for text in NOISE:
        warnings.filterwarnings("ignore", text)
    logging.getLogger("monai.bundle.workflows").addFilter(_is_news)

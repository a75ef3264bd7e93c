import logging
import warnings

import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding

from monai_ext.phases.library_noise import quiet_libraries


def test_what_libraries_say_on_every_run_is_left_out_and_all_else_is_said():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        quiet_libraries()
        MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.eye(4), meta={"affine": torch.eye(4)})
        build_sincos_position_embedding([2, 2], 8, 2)
        assert [str(one.message) for one in said] == []
        warnings.warn("case p1: 3 of 9 lesion voxels lie outside the crop", stacklevel=1)
        assert len(said) == 1


def test_these_warnings_are_still_made():
    """Otherwise there is nothing to leave out."""
    with pytest.warns(UserWarning, match="Setting affine"):
        MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.eye(4), meta={"affine": torch.eye(4)})


def test_a_phase_of_a_chain_is_not_announced_by_monai(tmp_path, caplog):
    files = [tmp_path / "train.json", tmp_path / "elsewhere" / "row.json", tmp_path / "metadata.json"]
    files[1].parent.mkdir()
    for file in files:
        file.write_text("{}")
    quiet_libraries()
    with caplog.at_level(logging.WARNING, logger="monai.bundle.workflows"):
        ConfigWorkflow([str(file) for file in files[:2]], logging_file=False)
        logging.getLogger("monai.bundle.workflows").warning("Default logging file does not exist")
    assert [record.getMessage() for record in caplog.records] == ["Default logging file does not exist"]

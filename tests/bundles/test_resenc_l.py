"""ResEnc-L in the bundles, small: it starts from published weights, resumes, segments, is exported."""

import json

import nibabel as nib
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export
from running import ROOT, run_bundle
from torch import nn

from monai_ext.networks import read_checkpoint

SIZES = {"channels": [4, 8, 12, 16], "stage_strides": [1, 2, 2, 2], "stage_blocks": [1, 2, 2, 2]}
SMALL = {
    "anatomask": {**SIZES, "levels": 3, "crop_size": [32, 32, 32], "num_crops": 2},
    "autopet_bixlstm": {"channels": SIZES["channels"], "iterations": 2, "val_interval": 1},
}


def published_file(folder, blocks):
    """What nnssl writes, from the authors' own class, with one input channel."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    torch.manual_seed(0)
    options = {"conv_bias": True, "norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
    options |= {"nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}}
    strides = [[s] * 3 for s in SIZES["stage_strides"]]
    network = unet.ResidualEncoderUNet(
        1, 4, SIZES["channels"], nn.Conv3d, [[3] * 3] * 4, strides, blocks, 1, [1] * 3, **options
    )
    plan = {"architecture_plans": {"arch_class_name": "ResEncL"}, "key_to_encoder": "encoder.stages"}
    plan["key_to_stem"] = "encoder.stem"
    torch.save(
        {"network_weights": network.state_dict(), "nnssl_adaptation_plan": plan}, folder / "checkpoint_final.pth"
    )
    return folder / "checkpoint_final.pth"


@pytest.mark.slow
@pytest.mark.parametrize("bundle", SMALL)
def test_from_published_weights_to_a_mask(bundle, tmp_path):
    configs = ROOT / "bundles" / bundle / "configs"
    blocks = SIZES["stage_blocks"] if bundle == "anatomask" else [1, 3, 4, 6]
    numbers = ("num_crops", "iterations", "val_interval")
    small = {key: value for key, value in SMALL[bundle].items() if key not in numbers}
    (tmp_path / "small.json").write_text(json.dumps(small))
    overlays = [configs / "demo.json", configs / "variants/resenc_l.json", tmp_path / "small.json"]
    steps = {key: value for key, value in SMALL[bundle].items() if key not in small}
    where = {"output_dir": tmp_path / "train", "model": tmp_path / "model.pt", "cache_dir": tmp_path / "cache"}
    options = {**where, **steps, "pretrained": published_file(tmp_path, blocks)}

    first = run_bundle("training", configs / "train.json", *overlays, cwd=ROOT, max_epochs=1, **options)
    assert "is taken as it is" in first.stdout  # no pretraining of one's own
    assert "ResEnc with stages of width (4, 8, 12, 16)" in first.stdout
    assert ("repeated to 2 channels and divided" in first.stdout) == (bundle == "autopet_bixlstm")
    again = run_bundle("training", configs / "train.json", *overlays, cwd=ROOT, max_epochs=1, resume=True, **options)
    assert "this run is finished" in again.stdout
    weights = read_checkpoint(tmp_path / "model.pt")
    assert any(name.startswith("encoder.xlstm.") for name in weights) == (bundle == "autopet_bixlstm")

    meta = configs / "metadata.json"
    files = [str(file) for file in (configs / "inference.json", *overlays)]
    image = json.loads(meta.read_text())["network_data_format"]["inputs"]["image"]
    shape = [1, image["num_channels"], 32, 32, 32]
    common = {"net_id": "network_def", "ckpt_file": str(tmp_path / "model.pt"), "meta_file": str(meta)}
    common |= {"config_file": files, "bundle_root": str(configs.parent), "use_trace": True, "input_shape": shape}
    ckpt_export(filepath=str(tmp_path / "model.ts"), **common)
    parser = ConfigParser()
    parser.read_config(files)
    net = parser.get_parsed_content("network_def").eval()
    net.load_state_dict(weights)
    x = torch.randn(*shape)
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(x), net(x), atol=1e-4)

    run_bundle("inference", *files, cwd=ROOT, model=tmp_path / "model.pt", output_dir=tmp_path / "out")
    masks = sorted((tmp_path / "out").rglob("*_seg.nii.gz"))
    assert masks
    assert all(nib.load(mask).shape for mask in masks)


@pytest.mark.slow
def test_published_names_go_past_the_pretraining(tmp_path):
    """``--pretrained openmind_mae`` starts no phase, and what cannot be had ends the run with one line."""
    configs = ROOT / "bundles/anatomask/configs"
    (tmp_path / "small.json").write_text(json.dumps(SMALL["anatomask"]))
    files = [configs / "train.json", configs / "demo.json", configs / "variants/resenc_l.json", tmp_path / "small.json"]
    result = run_bundle(
        "training",
        *files,
        cwd=ROOT,
        check=False,
        env={"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)},
        pretrained="openmind_mae",
        output_dir=tmp_path / "train",
        model=tmp_path / "model.pt",
        cache_dir=tmp_path / "cache",
    )
    assert result.returncode == 4
    assert "error: openmind_mae: the weights are of ResEnc-L, the network is ResEnc with" in result.stderr
    assert not (tmp_path / "pretrain").exists()

"""ResEnc-L in the bundles: it starts from published weights, resumes, segments, is exported and keeps the contract.

Small where it trains for epochs; of full size in one step.
"""

import json
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, onnx_export
from published_code import plan_of_nnssl, published_resenc
from running import ROOT, bundle_command, run_bundle

from monai_ext.networks import read_checkpoint

SIZES = {"channels": [4, 8, 12, 16], "stage_strides": [1, 2, 2, 2], "stage_blocks": [1, 2, 2, 2]}
SMALL = {
    "anatomask": {**SIZES, "levels": 3, "crop_size": [32, 32, 32], "num_crops": 2},
    "autopet_bixlstm": {"channels": SIZES["channels"], "iterations": 2, "val_interval": 1},
}


def published_file(folder, blocks):
    """What nnssl writes, from the authors' own class, with one input channel."""
    torch.manual_seed(0)
    network = published_resenc(1, 4, SIZES["channels"], SIZES["stage_strides"], blocks)
    content = {"network_weights": network.state_dict(), "nnssl_adaptation_plan": plan_of_nnssl()}
    torch.save(content, folder / "checkpoint_final.pth")
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
    window = ConfigParser(ConfigParser.load_config_files(files)).get_parsed_content("crop_size")
    shape = [1, image["num_channels"], *window]
    common = {"net_id": "network_def", "ckpt_file": str(tmp_path / "model.pt"), "meta_file": str(meta)}
    common |= {"config_file": files, "bundle_root": str(configs.parent), "use_trace": True, "input_shape": shape}
    ckpt_export(filepath=str(tmp_path / "model.ts"), **common)
    onnx_export(filepath=str(tmp_path / "model.onnx"), **common)
    parser = ConfigParser()
    parser.read_config(files)
    net = parser.get_parsed_content("network_def").eval()
    net.load_state_dict(weights)
    x = torch.randn(*shape)
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(x), net(x), atol=1e-4)
        import onnxruntime

        session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
        result = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        assert np.abs(result - net(x).numpy()).max() < 1e-3

    run_bundle("inference", *files, cwd=ROOT, model=tmp_path / "model.pt", output_dir=tmp_path / "out")
    masks = sorted((tmp_path / "out").rglob("*_seg.nii.gz"))
    assert masks
    # A server that has the exported file alone: the row's sizes of the network lie in it.
    exported = {key: value for key, value in small.items() if key == "crop_size"}
    exported["network_def"] = f"$torch.jit.load('{tmp_path / 'model.ts'}')"
    (tmp_path / "exported.json").write_text(json.dumps(exported))
    last = [configs / "inference.json", configs / "demo.json", tmp_path / "exported.json"]
    run_bundle("inference", *last, cwd=ROOT, model=tmp_path / "model.pt", output_dir=tmp_path / "again")
    for mask in masks:
        again = tmp_path / "again" / mask.relative_to(tmp_path / "out")
        differing = np.asarray(nib.load(mask).dataobj) != np.asarray(nib.load(again).dataobj)
        assert differing.mean() < 2e-3  # a network hardly trained has ties between classes, which may fall otherwise


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


@pytest.mark.slow
@pytest.mark.parametrize("bundle", SMALL)
@pytest.mark.parametrize(
    "overlays",
    [
        ["demo", "variants/resenc_l"],
        ["demo", "variants/resenc_l", "finetune", "finetune_sawtooth"],
        ["variants/published_nnfoundation_cnn", "finetune"],
    ],
)
def test_rows_keep_the_contract_of_workflows(bundle, overlays, tmp_path):
    configs = ROOT / "bundles" / bundle / "configs"
    for file, kind in (("train.json", "train"), ("inference.json", "infer"), ("evaluate.json", "infer")):
        workflow = ConfigWorkflow(
            [str(configs / name) for name in (file, *(f"{overlay}.json" for overlay in overlays))],
            workflow_type=kind,
            logging_file=False,
            bundle_root=str(configs.parent),
            output_dir=str(tmp_path / file),
        )
        workflow.initialize()
        assert workflow.check_properties() == []


@pytest.mark.slow
@pytest.mark.parametrize("bundle", SMALL)
def test_killed_in_the_middle_of_the_sawtooth_and_resumed(bundle, tmp_path):
    """nnssl's fine-tuning: the encoder rests while the decoder starts; a kill changes no bit of the end."""
    configs = ROOT / "bundles" / bundle / "configs"
    blocks = SIZES["stage_blocks"] if bundle == "anatomask" else [1, 3, 4, 6]
    (tmp_path / "small.json").write_text(json.dumps({**SMALL[bundle], "head_start": 0.5, "warmup": 0.25}))
    overlays = ["demo.json", "variants/resenc_l.json", "finetune.json", "finetune_sawtooth.json"]
    files = [configs / name for name in ("train.json", *overlays)] + [tmp_path / "small.json"]
    published = published_file(tmp_path, blocks)

    def options(folder):
        where = {"output_dir": folder, "model": folder / "model.pt", "cache_dir": tmp_path / "cache"}
        return {**where, "pretrained": published, "max_epochs": 8, "resume": True}

    run_bundle("run", *files, cwd=ROOT, **options(tmp_path / "whole"))
    folder, seen = tmp_path / "killed", set()
    command = bundle_command("run", *files, **options(folder))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(seen) < 3 and process.poll() is None:  # three checkpoints: in the middle of the head start
            seen |= {path.stat().st_mtime_ns for path in folder.glob("last.pt")}
            time.sleep(0.005)
        process.kill()
    checkpoint = read_checkpoint(folder / "last.pt")
    assert 1 <= checkpoint["epoch"] < 8
    if checkpoint["epoch"] <= 4:
        start = read_checkpoint(published)["network_weights"]
        name = "encoder.stages.1.blocks.0.conv1.conv.weight"
        assert torch.equal(checkpoint["objects"]["network"][name], start[name])
    run_bundle("run", *files, cwd=ROOT, **options(folder))
    for part in ("model.pt", "last.pt"):
        whole, resumed = (read_checkpoint(place / part) for place in (tmp_path / "whole", folder))
        first, second = (content.get("objects", {"network": content})["network"] for content in (whole, resumed))
        assert all(torch.equal(first[key], second[key]) for key in first), part
    assert not any(key.startswith("decoder.seg_layers.0") for key in first)  # one output, as nnssl's fine-tuning


STEP = """
import json, resource, sys, time
import torch
from monai.bundle import ConfigParser
torch.set_num_threads(1)
parser = ConfigParser()
parser.read_config(json.loads(sys.argv[1]))
parser["crop_size"] = [64, 64, 64]
net, loss = parser.get_parsed_content("network_def").train(), parser.get_parsed_content("loss")
optimizer = torch.optim.SGD(net.parameters(), 0.001, momentum=0.99, nesterov=True)
channels = net.encoder.stem.convs[0].conv.in_channels
image = torch.randn(2, channels, 64, 64, 64)
label, found, start = (image[:, :1] > 1).long(), [], time.time()
for _ in range(2):
    outputs = net(image)
    value = loss(outputs, label)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    found.append(value.item())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
count = sum(p.numel() for p in net.parameters())
print(json.dumps({"losses": found, "idle": idle, "count": count, "gib": peak, "seconds": (time.time() - start) / 2}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("bundle", "count"), [("anatomask", 102_357_015), ("autopet_bixlstm", None)])
def test_a_step_of_full_size(bundle, count):
    """Two crops of 64 voxels along each axis through the whole network, in single precision, on a CPU."""
    configs = ROOT / "bundles" / bundle / "configs"
    files = [str(configs / "train.json"), str(configs / "variants/resenc_l.json")]
    result = subprocess.run([sys.executable, "-c", STEP, json.dumps(files)], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    print(bundle, found)
    assert found["idle"] == []
    assert found["losses"][1] < found["losses"][0]
    assert count is None or found["count"] == count
    assert found["gib"] < 8

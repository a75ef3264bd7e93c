"""The part of the bundle contract that needs a trained bundle: one run of the demo serves all tests."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export
from running import ROOT, run_bundle

from monai_ext.networks import read_checkpoint


def config(bundle, file):
    return f"bundles/{bundle.name}/configs/{file}"


def snapshot(folder, but=()):
    return {p for p in folder.rglob("*") if p.is_file() and not any(part in p.parts for part in but)}


def test_demo_trains_the_whole_method_and_writes_only_under_the_bundle(trained, workplace):
    bundle, result = trained
    assert "s/it" in result.stderr or "it/s" in result.stderr  # a progress bar with rate and time left
    assert {p.relative_to(workplace).parts[:2] for p in snapshot(workplace)} == {("bundles", bundle.name)}
    touched = [p.relative_to(bundle).parts for p in snapshot(bundle)]
    assert not [parts for parts in touched if parts[0] in ("models", "output") and parts[:2] != ("output", "cache")]
    output = bundle / "demo/output"
    trainings = sorted(path.parent.relative_to(output) for path in output.rglob("last.pt"))
    assert len(trainings) >= 2
    for phase in trainings:
        report = json.loads((output / phase / "report.json").read_text())
        assert report["epochs"] > 0
        assert report["data"]["train"]["items"] > 0
        assert report["versions"]["torch"] == torch.__version__
        assert list((output / phase).glob("events.*"))
    assert all(list((output / phase).glob("*.png")) for phase in trainings if phase.name != "train")


def test_model_is_a_plain_state_dict(trained):
    weights = read_checkpoint(trained[0] / "demo/models/model.pt")
    weights = weights.get("model", weights)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_second_training_keeps_the_pretraining(trained, workplace):
    bundle, _ = trained
    earlier = [file for file in snapshot(bundle / "demo/models") if file.suffix == ".pt" and file.name != "model.pt"]
    before = [file.stat().st_mtime_ns for file in earlier]
    result = run_bundle(
        "training", config(bundle, "train.json"), config(bundle, "demo.json"), cwd=workplace, resume=True
    )
    assert "is done already" in result.stdout
    assert "this run is finished" in result.stdout
    assert earlier
    assert [file.stat().st_mtime_ns for file in earlier] == before


def test_evaluation_reports_metrics_with_n_and_interval(trained, workplace):
    bundle, _ = trained
    result = run_bundle("evaluating", config(bundle, "evaluate.json"), config(bundle, "demo.json"), cwd=workplace)
    report = json.loads((bundle / "demo/output/evaluate/report.json").read_text())
    for metric, row in report["metrics"].items():
        assert {"mean", "ci_low", "ci_high", "n"} <= row.keys()
        assert metric in result.stdout
    assert len(report["weights"]["sha256"]) == 64
    assert Path(report["weights"]["file"]) == bundle / "demo/models/model.pt"


def test_inference_writes_masks_on_the_grid_of_the_scan(trained, workplace):
    bundle, _ = trained
    output = bundle / "demo/output/inference"
    run_bundle("inference", "configs/inference.json", "configs/demo.json", cwd=bundle)
    masks = sorted(output.rglob("*_seg.nii.gz"))
    assert masks
    sources = json.loads((Path(scan_folder(bundle)) / "datalist.json").read_text())["testing"]
    assert len(masks) == len(sources)
    for mask_file in masks:
        case = next(c for c in sources if c["id"] in mask_file.name)
        scan = nib.load(Path(scan_folder(bundle)) / next(v for v in case.values() if str(v).endswith(".nii.gz")))
        mask = nib.load(mask_file)
        assert mask.shape[:3] == scan.shape[:3]
        assert np.abs(mask.affine - scan.affine).max() < 1e-4
        assert set(np.unique(mask.dataobj)) <= set(range(200))
    assert list(output.rglob("*.png"))


def demo_inference(bundle):
    """A demo may reduce the network and the data, so every use of its weights needs its overlay."""
    return [str(bundle / "configs" / file) for file in ("inference.json", "demo.json")]


def scan_folder(bundle):
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(demo_inference(bundle))
    parser["bundle_root"] = str(bundle)
    return parser.get_parsed_content("dataset_dir")


def test_inference_from_anywhere_with_bundle_root(trained, tmp_path):
    bundle, _ = trained
    run_bundle("inference", *demo_inference(bundle), cwd=tmp_path, bundle_root=bundle, output_dir=tmp_path / "out")
    assert {p.relative_to(tmp_path).parts[0] for p in snapshot(tmp_path)} == {"out"}


@pytest.mark.slow
def test_exports_agree_with_eager(trained, tmp_path, name):
    bundle, _ = trained
    meta = str(bundle / "configs/metadata.json")
    infer = demo_inference(bundle)
    common = dict(
        net_id="network_def",
        ckpt_file=str(bundle / "demo/models/model.pt"),
        meta_file=meta,
        config_file=infer,
        bundle_root=str(bundle),
    )
    image = json.loads(Path(meta).read_text())["network_data_format"]["inputs"]["image"]
    shape = [
        1,
        image["num_channels"],
        *(s if isinstance(s, int) else int(s.split("*")[0]) for s in image["spatial_shape"]),
    ]
    ckpt_export(filepath=str(tmp_path / "script.ts"), **common)  # as the model zoo calls it
    ckpt_export(filepath=str(tmp_path / "model.ts"), use_trace=True, input_shape=shape, **common)
    onnx_export(filepath=str(tmp_path / "model.onnx"), use_trace=True, input_shape=shape, **common)
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(infer)
    parser["bundle_root"] = str(bundle)
    net = parser.get_parsed_content("network_def").eval()
    net.load_state_dict(read_checkpoint(bundle / "demo/models/model.pt"))
    x = torch.randn(*shape)
    with torch.no_grad():
        eager = net(x)
        for file in ("script.ts", "model.ts"):
            assert torch.allclose(torch.jit.load(tmp_path / file)(x), eager, atol=1e-4)
        assert torch.allclose(torch.export.export(net, (x,)).module()(x), eager, atol=1e-4)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    result = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert np.abs(result - eager.numpy()).max() < 1e-3


STEPS, BATCH = 4, 4  # of the comparison of one process with two; both see the same BATCH items in each step

PROBE = {  # laid over train.json: fixed items in a fixed order, not augmented, no dropout, fp32, the loss of each step
    "augmentation": None,
    "train#dataset": {"_target_": "monai.data.Dataset", "data": "$torch.load(@items_file)"},
    "train#dataloader#batch_size": "@items_per_process",
    "train#dataloader#shuffle": False,
    "train#dataloader#iterations": None,
    "train#dataloader#lesion_share": 0.0,
    "items_per_process": BATCH,
    "items_file": "",
    "record": "",
    "amp": False,
    "losses": "$[]",
    "still": "$[setattr(m, 'p', 0.0) for m in @network_def.modules() if 'Dropout' in type(m).__name__]",
    "listen": "$@train#trainer.add_event_handler(monai.engines.utils.IterationEvents.MODEL_COMPLETED, "
    "lambda engine: @losses.append(float(engine.state.output['loss'].detach())))",
    "rank": "$str(torch.distributed.get_rank()) if torch.distributed.is_initialized() else ''",
    "keep": "$torch.save({'losses': @losses, 'weights': {k: v.clone() for k, v in @network_def.state_dict().items()}}, "
    "@record + @rank + '.pt')",
    "run": ["@still", "@listen", "$@train#trainer.run()", "@keep"],
}


def frozen_items(bundle, folder):
    """Items of the real training data as the network gets them, in a file that all processes read."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / file) for file in ("train.json", "demo.json")])
    parser["bundle_root"] = str(bundle)
    torch.manual_seed(0)
    dataset = parser.get_parsed_content("train#dataset")
    chosen = [dataset[i] for i in np.linspace(0, len(dataset) - 1, STEPS * BATCH).astype(int)]
    chosen = [item[0] if isinstance(item, list) else item for item in chosen]
    plain = [
        {k: torch.as_tensor(np.asarray(item[k])).clone() for k in ("image", "label")} | {"id": str(i)}
        for i, item in enumerate(chosen)
    ]
    torch.save(plain, folder / "items.pt")
    return folder / "items.pt"


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_same_batches(trained, workplace, tmp_path):
    """Weights are equal bit by bit on both ranks; the loss is that of one process with the whole batch.

    Tolerances: 1e-4 of the loss per step, 1e-3 of the norm of all weights at the end. Only the order of sums in fp32
    differs. Adam turns it into whole steps where a gradient is zero up to rounding, such as that of a bias before a
    norm.
    """
    bundle, _ = trained
    items = frozen_items(bundle, tmp_path)
    train = json.loads((bundle / "configs/train.json").read_text())
    (tmp_path / "one.json").write_text(json.dumps(PROBE))
    (tmp_path / "two.json").write_text(json.dumps(PROBE | {"items_per_process": BATCH // 2}))
    common = {"items_file": items, "record": tmp_path / "one", "max_epochs": 1}
    common |= {"frozen_epochs": 0} if "frozen_epochs" in train else {}
    if train["loss"]["_target_"] == "DiceCELoss":  # MONAI's, whose Dice over a batch is of one process
        common["batch_dice"] = False
    files = [config(bundle, file) for file in ("train.json", "demo.json")]
    run_bundle(
        "run",
        *files,
        tmp_path / "one.json",
        cwd=workplace,
        output_dir=tmp_path / "out1",
        model=tmp_path / "1.pt",
        **common,
    )
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    common |= {"record": tmp_path / "two", "output_dir": tmp_path / "out2", "model": tmp_path / "2.pt"}
    files += [config(bundle, "multi_gpu_train.json"), tmp_path / "two.json"]
    run_bundle("run", *files, cwd=workplace, launcher=launcher, env={"OMP_NUM_THREADS": "1"}, **common)
    one, rank0, rank1 = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two0", "two1"))
    assert all(torch.equal(rank0["weights"][key], rank1["weights"][key]) for key in rank0["weights"])
    both = [(a + b) / 2 for a, b in zip(rank0["losses"], rank1["losses"])]
    assert len(one["losses"]) == len(both) == STEPS
    print(f"{bundle.name}: one process {one['losses']}, two {both}")
    assert np.abs(np.subtract(one["losses"], both)).max() < 1e-4 * STEPS * max(np.abs(one["losses"]))
    assert len(set(one["losses"])) == STEPS
    off = total = 0.0
    for key, value in one["weights"].items():
        if value.is_floating_point():
            off += float((value - rank0["weights"][key]).double().square().sum())
            total += float(value.double().square().sum())
    assert off**0.5 < 1e-3 * total**0.5
    assert os.listdir(tmp_path / "out2")


@pytest.mark.slow
def test_many_studies_are_shared_by_processes_and_what_is_done_is_skipped(trained, workplace, tmp_path):
    bundle, _ = trained
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    files = [config(bundle, file) for file in ("inference.json", "demo.json")]
    where = {"cwd": workplace, "output_dir": tmp_path, "env": {"OMP_NUM_THREADS": "1"}}
    run_bundle("inference", *files, launcher=launcher, **where)
    masks = sorted(tmp_path.rglob("*_seg.nii.gz"))
    sources = json.loads((Path(scan_folder(bundle)) / "datalist.json").read_text())["testing"]
    assert len(masks) == len(sources)
    reports = [json.loads((tmp_path / name).read_text()) for name in ("report.json", "report.1.json")]
    assert sum(report["data"]["cases"]["items"] for report in reports) == len(sources)
    masks[0].write_bytes(masks[0].read_bytes()[:-30])  # as a kill leaves it
    before = [mask.stat().st_mtime_ns for mask in masks]
    run_bundle("inference", *files, **where)
    assert [mask.stat().st_mtime_ns == time for mask, time in zip(masks, before)] == [False] + [True] * (len(masks) - 1)
    nib.load(masks[0]).get_fdata()
    assert "all studies are done" in run_bundle("inference", *files, **where).stdout


def test_readme_says_what_the_zoo_asks_for(source):
    text = (source / "docs/README.md").read_text()
    headings = [
        "Overview",
        "Data",
        "Training configuration",
        "Input",
        "Output",
        "Performance",
        "Commands",
        "References",
        "License",
    ]
    places = [text.find(f"\n## {heading}") for heading in headings]
    assert -1 not in places, dict(zip(headings, places))
    assert places == sorted(places)
    assert (ROOT / "README.md").is_file()

"""Files as the published code writes them, with random weights, and the features that this code computes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from published_code import PublishedSTUNet, plan_of_nnssl, published_resenc
from torch import nn

SIZES = {"channels": (4, 8, 12), "strides": (1, 2, 2), "blocks": (1, 2, 2)}


def no_parameter_at_its_start(network):
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return network.eval()


def resenc(channels, strides, blocks, in_channels=1):
    return no_parameter_at_its_start(published_resenc(in_channels, 1, channels, strides, blocks))


@pytest.fixture
def write(tmp_path):
    """``write(format, **sizes)``: a file of this format, and ``features(image)`` of its network in double precision."""

    def curves():
        return {"train_losses": [np.float64(0.5)], "lrs": [np.float32(0.01)], "epoch": [np.int64(3)]}

    def nnssl(name="checkpoint_final.pth", architecture="ResEncL", **sizes):
        network = resenc(**{**SIZES, **sizes})
        content = {
            "network_weights": network.state_dict(),
            "nnssl_adaptation_plan": plan_of_nnssl(architecture),
            "trainer_name": "BaseMAETrainer",
            "citations": [{"type": "Architecture", "name": "ResEncL", "apa_citations": ["Isensee et al."]}],
            "logging": curves(),
        }
        torch.save(content, tmp_path / name)
        return network.double().encoder

    def multitalent(name="checkpoint_final.pth", **sizes):
        """Several stems, each below its own name; the plan names one."""
        ct, mr = resenc(**SIZES), resenc(**SIZES)
        weights = {k: v for k, v in ct.state_dict().items() if not k.startswith(("encoder.stem.", "decoder."))}
        for number, network in (("351_0", ct), ("004", mr)):
            weights |= {f"encoder.stem.{number}.{k}": v for k, v in network.encoder.stem.state_dict().items()}
        plan = plan_of_nnssl(stem="encoder.stem.351_0")
        torch.save({"network_weights": weights, "nnssl_adaptation_plan": plan}, tmp_path / name)
        mr.encoder.stages = ct.encoder.stages
        return ct.double().encoder, mr.double().encoder

    def nnunet(name="checkpoint_final.pth", **sizes):
        network = resenc(**SIZES)
        torch.save({"network_weights": network.state_dict(), "logging": curves(), "current_epoch": 9}, tmp_path / name)
        return network.double().encoder

    def plain(name="weights.pt", **sizes):
        network = resenc(**SIZES)
        torch.save(dict(network.named_parameters()), tmp_path / name)
        return network.double().encoder

    def safetensors(name="model.safetensors", **sizes):
        """The library keeps one name of a tensor that has several."""
        save_model = pytest.importorskip("safetensors.torch").save_model
        network = resenc(**SIZES)
        save_model(network, str(tmp_path / name))
        return network.double().encoder

    def stunet(name="base_ep4k.model", base=8, depth=1):
        network = no_parameter_at_its_start(PublishedSTUNet(base, depth))
        content = {
            "epoch": 4000,
            "state_dict": network.state_dict(),
            "plot_stuff": ([np.float64(0.5)], [np.float32(1)]),
        }
        torch.save(content, tmp_path / name)
        return network.double().features

    def spark(name="STUNet_B_head_latest.pt", base=8, depth=1):
        """The pretraining network inside of a wrapper, beside its optimizer."""
        network = no_parameter_at_its_start(PublishedSTUNet(base, depth, classes=1))
        inner = "module.sparse_encoder.sp_cnn."
        weights = {inner + k: v for k, v in network.state_dict().items()}
        for i, width in enumerate((16, 8, 4, 2, 1)):
            weights[f"module.mask_tokens.{i}"] = torch.zeros(1, base * width, 1, 1, 1)
            weights[f"module.densify_norms.{i}.weight"] = torch.ones(base * width)
        weights["module.dense_decoder.proj.weight"] = torch.zeros(1, base, 1, 1, 1)
        optimizer = torch.optim.AdamW(network.parameters()).state_dict()
        content = {"network_weights": weights, "optimizer_state": optimizer, "grad_scaler_state": None}
        torch.save({**content, "train_loss": [0.9], "val_loss": [], "current_epoch": 999}, tmp_path / name)
        return network.double().features

    writers = {f.__name__: f for f in (nnssl, multitalent, nnunet, plain, safetensors, stunet, spark)}

    def call(kind, **options):
        torch.manual_seed(0)
        features = writers[kind](**options)
        files = [path for path in tmp_path.iterdir() if path.is_file()]
        return SimpleNamespace(file=max(files, key=lambda path: path.stat().st_mtime_ns), features=features)

    return call


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """``hub(repository, file, source)``: put a file into an empty cache laid out as huggingface_hub lays it out."""
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = tmp_path / "hub"
    cache.mkdir()
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository, file, source):
        folder = cache / f"models--{repository.replace('/', '--')}"
        commit, blob = "0123456789abcdef0123456789abcdef01234567", folder / "blobs" / ("f" * 64)
        for place in (folder / "refs", folder / "blobs", (folder / "snapshots" / commit / file).parent):
            place.mkdir(parents=True)
        (folder / "refs" / "main").write_text(commit)
        blob.write_bytes(source.read_bytes())
        (folder / "snapshots" / commit / file).symlink_to(blob)
        return folder / "snapshots" / commit / file

    put.cache = cache
    return put


@pytest.fixture
def plan_file(tmp_path):
    (tmp_path / "adaptation_plan.json").write_text(json.dumps(plan_of_nnssl()))
    return tmp_path / "adaptation_plan.json"

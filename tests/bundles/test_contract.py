"""The part of the bundle contract that needs no training."""

import importlib.util
import inspect
import shutil

import jsonschema
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from running import ROOT, run_bundle

import monai_ext
from monai_ext.phases.chain import earlier_phases, runnable_ids

FILES = [
    *("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/metadata.json", "configs/logging.conf"),
    *("configs/train.json", "configs/evaluate.json", "configs/inference.json"),
    *("configs/demo.json", "configs/multi_gpu_train.json"),
]
RUN_IDS = {  # of the phases that every bundle has, or whose name says it; other phases name their own
    **{"train.json": "training", "evaluate.json": "evaluating", "inference.json": "inference"},
    "pretrain.json": "pretraining",
}
TOP = ["bundle_root", "device", "dataset_dir", "datalist", "output_dir", "network_def", "network", "inferer"]
TOP += ["preprocessing", "postprocessing"]
NESTED = ["train#trainer#max_epochs", "train#dataset#data", "train#handlers", "validate#dataset#data"]
METADATA = ["name", "intended_use", "data_source", "references", "eval_metrics"]
OVERLAYS = (
    "demo.json",
    "multi_gpu_train.json",
    "finetune.json",
    "finetune_sawtooth.json",
    "finetune_published.json",
    "self_train.json",
)


def phases(configs):
    """Configs that can run by themselves; the others are overlays and metadata."""
    return {file: config for file, config in configs.items() if "run" in config}


def parser(source, *files):
    found = ConfigParser()
    found.read_config([str(source / "configs" / file) for file in files])
    found["bundle_root"] = str(source)
    return found


def test_files_are_there(source):
    assert [file for file in FILES if not (source / file).is_file()] == []


def test_keys_that_monai_and_monai_label_look_for(source):
    for file in ("train.json", "inference.json"):
        config = parser(source, file)
        assert [key for key in TOP if key not in config] == []
        assert "@_meta_" not in str(config.get())
    train = parser(source, "train.json")
    assert [key for key in NESTED if key not in train] == []
    assert isinstance(train["train#handlers"], list)


def test_run_ids(configs):
    found = phases(configs)
    assert {"train.json", "evaluate.json", "inference.json"} < found.keys()
    for file, config in found.items():
        runnable = runnable_ids(config)
        assert RUN_IDS.get(file, runnable[-1]) in runnable[1:], f"{file}: a readable name beside run"
        assert config["initialize"] == "$monai_ext.phases.start()"


def test_check_properties_reports_nothing(source, tmp_path):
    for file, kind in (("train.json", "train"), ("inference.json", "infer"), ("evaluate.json", "infer")):
        workflow = ConfigWorkflow(
            str(source / "configs" / file),
            workflow_type=kind,
            logging_file=False,
            bundle_root=str(source),
            output_dir=str(tmp_path / file),
        )
        workflow.initialize()
        assert workflow.check_properties() == []


def test_network_and_preprocessing_are_the_same_in_every_phase(configs):
    train = configs["train.json"]
    for file in ("evaluate.json", "inference.json"):
        for key in ("network_def", "preprocessing"):
            assert configs[file][key] == train[key], f"{key} of {file}"


def test_an_evaluation_judges_what_an_inference_writes(configs):
    evaluate, inference = configs["evaluate.json"], configs["inference.json"]
    own = {"device", "datalist", "dataset", "output_dir", "gland_network", "postprocessing", "handlers", "evaluator"}
    shared = {key for key in evaluate.keys() & inference.keys() if key[0] != "_"} - own
    assert {"mirror", "ensemble", "model"} <= shared
    assert {key: evaluate[key] for key in shared} == {key: inference[key] for key in shared}


@pytest.mark.parametrize("phase", ["evaluate", "inference"])
def test_pictures_are_limited_by_one_setting(configs, phase):
    config = configs[f"{phase}.json"]
    handlers = [handler for handler in config["handlers"] if isinstance(handler, dict)]
    (drawn,) = [handler for handler in handlers if handler["_target_"].endswith("Preview")]
    assert drawn["max_cases"] == "@previews"
    assert config["previews"] > 0


def test_phases_are_self_contained_and_overlays_only_override(source, configs):
    for file in configs:
        if file in phases(configs):
            missing = unknown_references(parser(source, file).get())
            assert not missing, f"{file}: @{missing}"
        elif file in OVERLAYS or file.startswith("variants/"):
            base = parser(source, "train.json").get()
            merged = ConfigParser.load_config_files([str(source / "configs" / f) for f in ("train.json", file)])
            for phase in earlier_phases(merged):  # a section refers to the settings of its own phase
                section = {key: value for key, value in merged.pop(phase, {}).items() if "#" not in key}
                base.pop(phase, None)
                assert not unknown_references(parser(source, f"{phase}.json").get() | section), f"{file}: {phase}"
            assert not unknown_references(base | merged), file


def test_a_demo_has_a_place_of_its_own(configs):
    """Its weights, output and earlier phases lie below one folder, so that it never touches those of a real run."""
    assert configs["demo.json"]["run_dir"] == "$@bundle_root + '/demo'"
    for file, config in phases(configs).items():
        places = [key for key in config if key in ("model", "pretrained", "gland_weights", "generators", "output_dir")]
        assert places, file
        assert all("@run_dir" in config[key] or config[key] == "@maps_dir" for key in places), file


def unknown_references(config):
    found = ConfigParser(config)
    found.parse()
    names = set()
    for item in found.ref_resolver.items.values():
        refs = found.ref_resolver.find_refs_in_config(item.get_config(), item.get_id())
        names |= {ref for ref in refs if ref not in found}
    return names


def test_every_target_exists_and_takes_its_arguments(configs):
    def visit(node, where):
        if isinstance(node, dict):
            target = node.get("_target_")
            if target and "." in target:
                module, _, attribute = target.rpartition(".")
                found = getattr(importlib.import_module(module), attribute)
                parameters = inspect.signature(found).parameters
                if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                    given = {k for k in node if not (k.startswith("_") and not k.startswith("__"))}
                    assert given <= set(parameters), f"{where}: {target} takes no {given - set(parameters)}"
            for key, value in node.items():
                visit(value, f"{where}#{key}")
        elif isinstance(node, list):
            for i, value in enumerate(node):
                visit(value, f"{where}#{i}")

    for file, config in configs.items():
        visit(config, file)


def test_metadata(source, configs, tmp_path):
    metadata = configs["metadata.json"]
    schema = shutil.copy(ROOT / "tests/bundles/meta_schema_20240725.json", tmp_path / "schema.json")
    verify_metadata(meta_file=str(source / "configs/metadata.json"), filepath=schema)
    assert [key for key in METADATA if key not in metadata] == []
    assert metadata["version"] in metadata["changelog"]
    files = [ROOT / "requirements.txt", ROOT / "ci/requirements.txt"]  # the latter for what is an extra of the package
    pinned = dict(line.split("==") for file in files for line in file.read_text().split() if "==" in line)
    required = metadata["required_packages_version"]
    assert required.pop("monai-ext") == monai_ext.__version__
    assert required == {package: pinned[package] for package in required}
    for package in ("monai", "torch", "numpy"):
        assert metadata[{"torch": "pytorch"}.get(package, package) + "_version"] == pinned[package]
    for kind in ("inputs", "outputs"):
        for tensor in metadata["network_data_format"][kind].values():
            assert len(tensor["channel_def"]) == tensor["num_channels"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1}, ConfigParser.load_config_file(schema))


def test_network_takes_and_gives_what_the_metadata_says(source):
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(source / "configs/metadata.json"),
        config_file=str(source / "configs/inference.json"),
        device="cpu",
        bundle_root=str(source),
    )


def test_the_model_zoo_exports_it(source, tmp_path):
    """By the call of the zoo's ``ci/verify_bundle.py``, which scripts the network."""
    torch.manual_seed(0)
    network = parser(source, "inference.json").get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "verify_model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(source / "configs/metadata.json"),
        config_file=str(source / "configs/inference.json"),
        bundle_root=str(source),
    )
    image = torch.randn(1, next(p for p in network.parameters() if p.ndim > 3).shape[1], *network.example_size)
    with torch.no_grad():
        scripted = torch.jit.load(tmp_path / "verify_model.ts")(image)
        torch.testing.assert_close(scripted, network(image), atol=1e-4, rtol=1e-3)


def test_every_parameter_of_the_network_learns(source, configs):
    torch.manual_seed(0)
    net = parser(source, "train.json").get_parsed_content("network_def")
    image = configs["metadata.json"]["network_data_format"]["inputs"]["image"]
    shape = [s if isinstance(s, int) else int(s.split("*")[0]) for s in image["spatial_shape"]]
    output = net.train()(torch.randn(2, image["num_channels"], *shape))
    outputs = (
        output if isinstance(output, (list, tuple)) else output.unbind(1) if output.ndim > len(shape) + 2 else [output]
    )
    sum(o.square().mean() for o in outputs).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_misspelt_override_stops_every_phase(name):
    for file in ("train.json", "inference.json")[: 1 + (name == "prostate_mae")]:
        run = run_bundle("run", f"bundles/{name}/configs/{file}", cwd=ROOT, check=False, datset_dir="x")
        assert run.returncode == 2, run.stderr
        assert "'dataset_dir'" in run.stderr


@pytest.mark.parametrize("file", ["train.json", "evaluate.json", "inference.json"])
def test_a_row_lies_over_training_evaluation_and_inference(source, file):
    """One overlay for all three: a key of ``#`` that only the training has would end the evaluation of the row."""
    for row in sorted((source / "configs/variants").glob("**/*.json")):
        ConfigParser.load_config_files([str(source / "configs" / file), str(row)])

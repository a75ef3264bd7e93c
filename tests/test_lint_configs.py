import json
import re
from pathlib import Path

import lint_configs as lint
import pytest
from monai.bundle import ComponentLocator

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path for path in ROOT.glob("bundles/*/configs"))
# What a config could hold to run, load or fetch something: values of a key, or whole configs.
HOSTILE = [
    {"_target_": "monai.bundle.scripts.subprocess.Popen", "args": ["id"]},
    {"_target_": "torch.serialization.pickle.loads", "data": "x"},
    {"_target_": "monai_ext.bundle_process.os.execvp", "file": "sh", "args": []},
    {"_target_": "torch.hub.load_state_dict_from_url", "url": "x"},
    {"_target_": "torch.hub.urlopen", "url": "x"},
    {"_target_": "torch.serialization.load", "f": "x"},
    {"_target_": "torch.jit.load", "f": "x"},
    {"_target_": "torch.package.PackageImporter", "file_or_buffer": "x"},
    {"_target_": "torch.utils.cpp_extension.load_inline", "name": "x"},
    {"_target_": "torch._utils_internal.os.system", "command": "id"},
    {"_target_": "torch.distributed.run.main"},
    {"_target_": "monai.bundle.ConfigWorkflow", "config_file": "x"},
    {"_target_": "monai.bundle.run", "config_file": "x"},
    {"_target_": "monai.handlers.CheckpointLoader", "load_path": "x"},
    {"_target_": "monai.data.PersistentDataset", "cache_dir": "x"},
    {"_target_": "monai.utils.module.run_eval"},
    {"_target_": "monai.networks.nets.resnet50", "pretrained": True},
    {"_target_": "ignite.handlers.checkpoint.torch.load", "f": "x"},
    {"_target_": "ignite.utils.random.shuffle"},
    {"_target_": "monai_ext.networks.save_atomically", "path": "/home/user/.bashrc"},
    {"_target_": "monai_ext.data.volume_cache.np.load", "allow_pickle": True},
    {"_target_": "monai_ext.transforms.Views.__init__"},
    {"_target_": "builtins.exec", "source": "x"},
    {"_target_": "run_cmd", "cmd": "id"},
    {"_target_": "download_and_extract", "url": "x"},
    {"_target_": "$print", "x": 1},
    {"network::_target_": "os.system", "command": "id"},
    {"+_target_": "os.system", "command": "id"},
    {"_target_": "monai_ext.networks.nets.UNet", "_mode_": "debug"},
    {"_target_": "@method", "method": "os.system"},
    "%/home/user/evil.json#network",
    "$import monai.bundle.scripts",
    "$import torch as math",
    "$from monai.bundle.scripts import subprocess",
    "$from torch import load",
    "$monai.bundle.scripts.subprocess.Popen(['id'])",
    "$torch.serialization.pickle.loads(b'')",
    "$torch.serialization.pickle.__dict__['loads'](b'')",
    "$torch.__dict__['lo' + 'ad']('x')",
    "$monai_ext.bundle_process.os.execvp('sh', [])",
    "$math.__loader__.load_module('os').system('id')",
    "$getattr(torch, 'load')('x')",
    "$vars(torch)['load']('x')",
    "$__import__('os').system('id')",
    "$__builtins__['eval']('1')",
    "$(lambda f=torch.load: f)()('x')",
    "$(lambda t: t.serialization.load('x'))(torch)",
    "$(lambda torch: torch.run())(1)",
    "$[t.load('x') for t in [torch]]",
    "$[f('x') for f in [torch.load]]",
    "$[print := torch.load, print('x')]",
    "$(t := torch).load('x')",
    "$'{0.__class__.__mro__}'.format(1)",
    "$str.format('{0.load}', torch)",
    "$f'{torch.load(1)}'",
    "$().__class__.__base__.__subclasses__()",
    "$(lambda: 0).__globals__['torch']",
    "$int.__init__.__self__",
    "$[1, 2, 3][0#__import__('os').system('id')\n]",  # MONAI reads `#` as `::`: no comment, but the step of a slice
    "$'x'@torch.load('y')",
    "$open('/etc/passwd').read()",
    "$map(torch.load, ['x'])",
    "$sorted(['x'], key=torch.load)",
    "$print('x', file=torch)",
    "$1; torch.load('x')",
    "$torch.load",
    "$@network.load_state_dict(torch.load('x'))",
    "$@network.register_forward_hook(print)",
    "$(yield)",
]


def problems(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text if isinstance(text, str) else json.dumps({"bundle_root": ".", **text}))
    return lint.check_file(path)


@pytest.mark.row(29, 30)
@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ('{"lr": 1, "lr": 2}', "duplicate keys ['lr']"),
        ('{"a": {"lr": 1, "lr": 2}}', "duplicate keys ['lr']"),
        ("{", "Expecting"),
        ({"a": "$__import__('os').system('x')"}, "uses __import__"),
        ({"a": "$os.system('x')"}, "uses os"),
        ({"a": "$import subprocess"}, "imports subprocess"),
        ({"a": {"_target_": "os.system", "command": "x"}}, "os.system is outside"),
        ({"a": {"b": [{"_target_": "builtins.eval"}]}}, "builtins.eval is outside"),
        ({"a": "$().__class__.__bases__"}, "reaches for __class__"),
        ({"a": "$torch.load('x')"}, "torch.load is torch.serialization.load"),
        ({"a": {"_target_": "torch.load", "f": "x", "weights_only": False}}, "torch.load is torch.serialization.load"),
        (
            {"a": {"_target_": "monai.apps.download_and_extract", "url": "x"}},
            "monai.apps.utils.download_and_extract, which",
        ),
        ({"a": "$@nowhere + 1"}, "@nowhere is not defined"),
        ({"a": "@nowhere#b"}, "@nowhere#b is not defined"),
        ({"a": "$1 +"}, "not an expression"),
        ({"a": {"_target_": "monai_ext.losses.DiceLos"}}, "monai_ext.losses.DiceLos does not exist"),
        ({"a": "$math.tau"}, "math.tau is math.tau, which is not on the list"),
    ],
)
def test_finds(tmp_path, config, problem):
    found = problems(tmp_path, config)
    assert any(problem in line for line in found), found


def test_accepts_what_configs_need(tmp_path):
    config = {
        "imports": ["$import torch", "$import monai_ext"],
        "steps": "$int(0.05 * @epochs) * len(@train#loader)",
        "epochs": 3,
        "train": {
            "loader": "$[x for x in range(3)]",
            "name": {"_target_": "DataLoader", "collate_fn": "$lambda b: b[0]"},
        },
    }
    assert problems(tmp_path, config) == []


@pytest.mark.row(30)
@pytest.mark.parametrize("entry", HOSTILE, ids=lambda entry: re.sub(r"\W+", "_", str(entry))[:60])
def test_hostile_entries_are_refused(tmp_path, entry):
    assert problems(tmp_path, {"a": entry})
    assert problems(tmp_path, {"train": [{"a": entry}]})
    if isinstance(entry, dict):
        assert problems(tmp_path, entry)


@pytest.mark.parametrize("folder", CONFIGS, ids=lambda folder: folder.parent.name)
def test_configs_of_the_bundles_pass(folder):
    assert lint.main([str(folder)]) == 0


@pytest.mark.parametrize("place", ["method", "pretrain#method"])
def test_what_a_target_refers_to_is_a_target_in_every_file(tmp_path, capsys, place):
    """MONAI puts the text in the target's place, so an overlay could choose what is called."""
    base = {"bundle_root": ".", "method": "monai_ext.networks.nets.SimCLR", "network": {"_target_": "@method"}}
    (tmp_path / "pretrain.json").write_text(json.dumps(base))
    assert lint.main([str(tmp_path)]) == 0
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants/a.json").write_text(json.dumps({place: "torch.hub.load"}))
    assert lint.main([str(tmp_path)]) == 1
    assert "torch.hub.load" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text"),
    [("train.yaml", "a: 1"), ("hook.py", "1"), ("logging.conf", "[handler_x]\nclass=StreamHandler\nargs=(exec('1'),)")],
)
def test_other_files_that_run_code_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert lint.check_file(tmp_path / name)


def test_names_without_a_module_reach_the_class_on_the_list():
    """MONAI looks a bare name up in all its modules; the list says which one we looked at."""
    locator = ComponentLocator()
    for own in sorted(name for name in lint.EXACT if name.startswith("monai.")):
        module, _, name = own.rpartition(".")
        found = locator.get_component_module_name(name)
        assert module == (found if isinstance(found, str) else found[0]), own


@pytest.mark.row(30)
def test_nothing_is_evaluated(tmp_path):
    marker = tmp_path / "ran"
    problems(tmp_path, {"a": f"$open('{marker}', 'w')", "b": {"_target_": "pathlib.Path.touch", "self": str(marker)}})
    assert not marker.exists()

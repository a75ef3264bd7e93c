"""The reader's machine: what the programs on PATH do while a page's blocks run.

The text of a page is run as it stands. What happens outside of it, and only that, is written here:

- an absolute path such as ``/scans`` is one below the machine's own folder, the same for all commands of one bundle;
- what a command reads and the reader is said to have (scans, a data set, weights of a training) is laid there before;
- a capital word in place of a path (``D``, ``F``, ``DIR``) is a path in the clone, and another one in each block;
- ``monai.bundle run`` gets one overlay more: the demo's sizes, one epoch of a few steps, and a thinned phantom;
- a plan is made for seconds, a table has its first two rows and one seed, an export is traced on a small patch;
- torchrun starts one process, sbatch runs its script at once, in one process too; their words are checked;
- pip, MONAI Label, pytest, ruff and mypy check their words and do nothing; so do the scripts in ``ci`` and
  ``tests/benchmarks``, whose options are held against their ``--help``.

Each command is a fork of one process that has imported everything. Start: ``python page_machine.py SOCKET``.
"""

import ast
import ctypes
import functools
import importlib
import json
import logging
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from fork_server import preload

# One epoch of what demo.json makes small; a phase's own below its name.
GLAND = {"gland_size": [32, 32, 16], "max_epochs": 1}
SHORT = {
    "prostate_mae": {
        "max_epochs": 1, "iterations": 2, "val_interval": 1, "frozen_epochs": 0,
        "pretrain": {"max_epochs": 1, "iterations": 2}, "gland": GLAND,
    },
    "amlp": {
        "max_epochs": 1, "iterations": 2, "val_interval": 1, "pretrain": {"max_epochs": 1, "batch_size": 64},
    },
    "anatomask": {"max_epochs": 1, "num_crops": 2, "val_interval": 1, "pretrain": {"max_epochs": 1, "num_crops": 2}},
    "autopet_bixlstm": {
        "spacing": [12, 12, 12], "max_epochs": 1, "iterations": 1, "val_interval": 1,
        "pretrain": {"max_epochs": 1, "iterations": 1},
    },
    "adunet_anomaly": {
        "max_epochs": 1, "iterations": 1, "val_interval": 1, "gland": GLAND, "share": 0.5, "img_size": 32,
        "reconstruct": {"max_epochs": 1, "iterations": 1, "head_steps": 2},
    },
}  # fmt: skip
PLACES = ("--dataset_dir", "--datalist", "--ct_dataset_dir")
SECONDS = "0.05"  # minutes of a plan
DONE_BY_OTHERS = ("pytest", "ruff", "mypy", "pip")


def pairs_of(words):
    """Places in ``words`` of its positional words, and of the value of each option; None for a flag."""
    places, options, number = [], {}, 0
    while number < len(words):
        word = words[number]
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            has = not equals and number + 1 < len(words) and not words[number + 1].startswith("--")
            options[name] = number + 1 if has else None
            number += has
        else:
            places.append(number)
        number += 1
    return places, options


class Machine:
    """One command: its words become those that are run, after what it reads is laid where it reads it."""

    def __init__(self):
        self.clone, self.world = Path(os.environ["PAGE_CLONE"]), Path(os.environ["PAGE_WORLD"])
        self.kept = Path(os.environ["PAGE_MACHINE"]).parent  # for all pages

    # programs

    def python(self, words):
        while words[0] == "-W":
            words = words[2:]
        if words[0] == "-c":
            bundle = re.search(r"bundle=['\"](\w+)", words[1])
            code = re.sub(r"(?<=[\"'])/(?=\w)", f"{self.own(bundle and bundle[1])}/", words[1])
            for path in re.findall(r"predict\([\"']([^\"']+)", code):
                self.lay_input(bundle[1], Path(path), [])
                self.lay_weights(bundle[1], None, [])
                small = str(self.small(bundle[1], "inference", []))
                package = importlib.import_module("monai_ext.predict")
                package.predict = functools.partial(package.predict, config=small)
            return lambda: exec(compile(code, "<page>", "exec"), {"__name__": "__main__"})
        if words[0] != "-m":
            return self.script(words)
        module, *words = words[1:]
        if module in DONE_BY_OTHERS:
            return self.only_checked(module, words)
        if module == "torch.distributed.run":
            return self.torchrun(words)
        if module == "venv":
            activate = Path(words[-1]) / "bin/activate"
            activate.parent.mkdir(parents=True)
            return lambda: activate.write_text("")
        made = self.of_monai(words) if module == "monai.bundle" else self.of_ours(module, words)
        return lambda: run_module(module, made)

    python3 = python311 = python

    def torchrun(self, words):
        _, options = pairs_of(words)
        assert int(words[options["--nproc_per_node"]]) > 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        return self.python(words[words.index("-m") :])

    def sbatch(self, words):
        script = next(number for number, word in enumerate(words) if word.startswith("ci/"))
        _, options = pairs_of(words[:script])
        assert set(options) <= {"--nodes", "--gres", "--time"}, options
        nodes, gpus = int(words[options["--nodes"]]), words[options["--gres"]].split(":")[-1]
        job = {"SLURM_JOB_ID": "5", "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_GPUS_ON_NODE": gpus}
        env = {**os.environ, **job, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_SUBMIT_DIR": str(self.clone)}
        return lambda: sys.exit(subprocess.run(["bash", *words[script:]], env=env).returncode)

    def srun(self, words):
        assert words[0] == "--kill-on-bad-exit=1"
        return lambda: sys.exit(subprocess.run(words[1:], env={**os.environ, "SLURM_LOCALID": "0"}).returncode)

    def scontrol(self, words):
        assert words[:2] == ["show", "hostnames"]
        return lambda: print("node1\nnode2")

    def monailabel(self, words):
        places, options = pairs_of(words)
        if words[places[0]] == "apps":
            assert options["--download"] is None
            app = Path(words[options["--output"]]) / words[options["--name"]]
            app.mkdir(parents=True)  # the stock app has no folder model/
            return lambda: (app / "main.py").write_text("")
        assert words[places[0]] == "start_server"
        given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "--conf"}
        app = Path(words[options["--app"]])
        if not app.parent.exists():  # of a page on which the bundle has been copied there before
            shutil.copytree(self.clone / "bundles" / given["models"], app / "model" / given["models"])
        assert (app / "model" / given["models"] / "configs/inference.json").is_file(), f"{app} cannot serve {given}"
        assert json.loads(os.environ["MONAI_LABEL_DATASTORE_FILE_EXT"])
        assert (given["zoo_source"], given["sam2"]) == ("local", "false")
        return lambda: None

    def only_checked(self, program, words):
        places, options = pairs_of(words)
        files = [words[n] for n in places if "/" in words[n] and not words[n].startswith(("http", "/"))]
        files += [words[n] for name, n in options.items() if name in ("-r", "-c")]
        missing = [file for file in files if not list(self.clone.glob(file.split("[")[0].split("::")[0]))]
        assert not missing, f"{program}: there is no {missing}"
        return lambda: print(f"({program} {' '.join(words)})")

    def pip(self, words):
        return self.only_checked("pip", words)

    def ruff(self, words):
        return self.only_checked("ruff", words)

    def mypy(self, words):
        return self.only_checked("mypy", words)

    def script(self, words):
        path, *words = words
        assert path.startswith(("ci/", "tests/benchmarks/")), path
        assert (self.clone / path).is_file(), path
        options = [word for word in words if re.fullmatch(r"--[a-z-]+", word)]
        text = (self.clone / path).read_text()
        assert all(f'"{option}"' in text for option in options), f"{path} knows no {options}"
        return lambda: print(f"({path} {' '.join(words)})")

    # words

    def of_monai(self, words):
        _, options = pairs_of(words)
        given = words[options["--config_file"]]
        files = ast.literal_eval(given) if given.startswith("[") else [given]
        bundle, phase = Path(files[0]).parts[1], Path(files[0]).stem
        words = self.at_home(words, bundle)
        words[options["--config_file"]] = repr([*files, str(self.small(bundle, phase, [Path(f).stem for f in files]))])
        self.lay_data(bundle, words, options, files)
        if options.get("--input_shape") is not None:
            batch, channels, *size = ast.literal_eval(words[options["--input_shape"]])
            largest = 96 if len(size) == 2 else 64
            words[options["--input_shape"]] = repr([batch, channels, *(min(n, largest) for n in size)])
        for name in ("--ensemble", "--ckpt_file"):
            if options.get(name) is not None:
                value = words[options[name]]
                for path in ast.literal_eval(value) if value.startswith("[") else [value]:
                    self.lay_weights(bundle, Path(path), files[1:])
        if (
            options.get("--maps_dir") is not None
            and not (self.clone / "bundles" / bundle / "models/generators").exists()
        ):
            maps = ["run", "mapping", "--config_file", f"bundles/{bundle}/configs/maps.json"]  # of an earlier training
            subprocess.run(["python", "-m", "monai.bundle", *maps], check=True)
        if phase in ("evaluate", "inference") and "--ensemble" not in options:
            self.lay_weights(bundle, None, files[1:])
        return words

    def of_ours(self, module, words):
        command = module.removeprefix("monai_ext.")
        places, options = pairs_of(words)
        bundle = words[options["--bundle"]] if options.get("--bundle") is not None else None
        words = self.at_home(words, bundle)
        if command == "datalist":
            from page_reader import SETS, lay_public_set

            kind, root = words[places[0]], Path(words[options["--root"]])
            laid = root / f".{kind}"  # one capital word may stand for several places, one after the other
            if not laid.exists():
                shutil.rmtree(root, ignore_errors=True)
                home = {"picai": "prostate_mae", "autopet": "autopet_bixlstm", "longitudinal_ct": "autopet_bixlstm"}
                like = home.get(kind) or ("amlp" if "lgg" in str(root) else "anatomask")
                lay_public_set(kind, SETS[like], root)
                laid.touch()
            return words
        if command in ("options", "weights", "plan.step_trial"):
            return words
        if bundle is None:
            bundle = self.bundle_of_page()
        overlays = words[options["--config"]].split(",") if options.get("--config") is not None else []
        files = [*overlays, *(words[options["--rows"]].split(",") if "--rows" in options else [])]
        if command == "predict":
            self.lay_input(bundle, Path(words[places[0]]), words)
            return self.predict(bundle, words, options, overlays)
        self.lay_data(bundle, words, options, files)
        if command == "plan":
            words[options["--minutes"]] = SECONDS
        if command == "derive":
            from page_reader import lay_weights

            weights = Path(words[options["--weights"]])
            weights.with_suffix(".record.json").unlink(missing_ok=True)
            weights.unlink(missing_ok=True)  # those of a training with the plan, which this page's was not
            lay_weights(self.clone / "bundles" / bundle, overlays, weights)
        if command == "select":
            words += ["--config", str(self.small(bundle, "train", files))]
        if command == "table":
            words = self.table(bundle, words, options, files, overlays)
        return words

    def predict(self, bundle, words, options, overlays):
        small = str(self.small(bundle, "inference", [Path(name).stem for name in overlays]))
        if overlays:
            words[options["--config"]] += f",{small}"
        else:
            words += ["--config", small]
        for path in words[options["--weights"]].split(",") if "--weights" in options else [None]:
            self.lay_weights(bundle, path and Path(path), overlays)
        return words

    def table(self, bundle, words, options, files, overlays):
        phase = words[options["--phase"]] if "--phase" in options else "train"
        rows = words[options["--rows"]].split(",")[:2]
        words[options["--rows"]] = ",".join(rows)
        if options.get("--seeds") is not None:
            words[options["--seeds"]] = words[options["--seeds"]].split(",")[0]
        small = str(self.small(bundle, phase, [Path(name).stem for name in files]))
        if overlays:
            words[options["--config"]] += f",{small}"
        else:
            words += ["--config", small]
        data = {"dataset_dir": json.loads(Path(small).read_text())["dataset_dir"]}
        short = {**flat({k: v for k, v in SHORT[bundle].items() if k != "gland"}), **data}
        if phase != "train":
            short = {key: value for key, value in short.items() if "#" in key} | data
        known = [word.split("=")[0].removeprefix("--") for word in words]
        if "dataset_dir" in known:
            short.pop("dataset_dir")
        return [*words, *(word for key, value in short.items() for word in (f"--{key}", json.dumps(value).strip('"')))]

    # places

    def own(self, bundle):
        """The folder that stands for ``/`` in the commands of a bundle."""
        return self.world / "root" / (bundle or "any")

    def at_home(self, words, bundle):
        """Words with absolute paths below the machine's folder; a page has one bundle, or each has its own scans."""
        sets = {"/data/": "any"}  # public data sets belong to no bundle
        found = []
        for word in words:
            if word.startswith("/") and not word.startswith((str(self.world), str(self.kept))):
                home = next((name for start, name in sets.items() if word.startswith(start)), bundle)
                word = f"{self.own(home)}{word}"
            found.append(word)
        return found

    def bundle_of_page(self):
        """Of a command that names no bundle, such as check: the one whose page it is."""
        found = re.match(r"bundles/(\w+)/", os.environ["PAGE"])
        return found[1] if found else "prostate_mae"

    def small(self, bundle, phase, others):
        """Overlay that makes a phase small; the first phases' parts of it are on top where they are run alone."""
        from page_reader import HEAD_AND_NECK, SETS, lay_dataset

        from monai_ext.phases.chain import OWN

        configs = self.clone / "bundles" / bundle / "configs"
        demo = json.loads((configs / "demo.json").read_text())
        content = {**demo, **SHORT[bundle], "cache_dir": str(self.kept / "cache" / bundle)}
        for name, part in SHORT[bundle].items():
            if isinstance(part, dict):
                content[name] = {**demo.get(name, {}), **part}
        if "demo" not in others:
            content.pop("run_dir")
        if "generator_options" in content:  # autoencoders have none such
            of_default = content["generator_options"]
            content["generator_options"] = f"${of_default} if @reconstructor == 'fixed_point' else {{}}"
        data = HEAD_AND_NECK if any("hecktor" in name for name in others) else SETS[bundle]
        folder = self.kept / "phantoms" / data[0] / bundle
        if not folder.exists():
            lay_dataset(data, folder, folder / "datalist.json", patients=10 if len(data[4]) > 1 else 8)
        content["dataset_dir"] = str(folder)
        if isinstance(part := content.pop(phase, None), dict):  # how the training learns is not how this phase does
            content = {key: value for key, value in content.items() if key not in OWN} | part
        known = json.loads((configs / f"{phase}.json").read_text())
        fits = [key for key in content if key in known or isinstance(known.get(key.split("#")[0]), dict)]
        content = {key: content[key] for key in fits}
        content |= {"max_clicks": 1} if "click_steps" in others else {}
        if not isinstance(known.get("gland"), dict):  # of inference it is no phase, but where the gland is looked for
            content.pop("gland", None)
        path = self.world / "small" / f"{bundle}-{phase}-{data[0]}{'-demo' * ('demo' in others)}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    def lay_data(self, bundle, words, options, others):
        """The data set that a command names, where the page has not made it."""
        from page_reader import HEAD_AND_NECK, OUTLINED, SETS, UNOUTLINED, lay_dataset, lay_public_set

        folder, datalist, scans = (None if options.get(name) is None else Path(words[options[name]]) for name in PLACES)
        data = HEAD_AND_NECK if any("hecktor" in str(name) for name in others) else SETS[bundle]
        if folder is not None and datalist is not None and not datalist.exists() and not folder.exists():
            many = {"patients": UNOUTLINED, "outlined": OUTLINED} if folder.name == "data" else {}
            lay_dataset(data, folder, datalist, **many)
        if scans is not None and not scans.exists():
            lay_public_set("longitudinal_ct", data, scans)
            run_module(
                "monai_ext.datalist", ["longitudinal_ct", "--root", str(scans), "--out", str(scans / "datalist.json")]
            )

    def lay_input(self, bundle, path, words):
        from page_reader import HEAD_AND_NECK, SETS, lay_export, lay_scans

        data = HEAD_AND_NECK if any("hecktor" in word for word in words) else SETS[bundle]
        if not path.exists():
            lay = lay_export if path.name == "export" else lay_scans
            lay(data, path, *([True] if path.name == "export" and "--series" in words else []))

    def lay_weights(self, bundle, path, overlays):
        """Weights that a page starts from, at ``path`` or where the configs look for them."""
        from page_reader import lay_weights

        small = self.small(bundle, "inference", [Path(name).stem for name in overlays])
        lay_weights(self.clone / "bundles" / bundle, [*overlays, str(small)], path)


def flat(settings, above=""):
    """Settings of sections by their full names: ``pretrain#max_epochs``."""
    found = {}
    for key, value in settings.items():
        found |= flat(value, f"{above}{key}#") if isinstance(value, dict) else {above + key: value}
    return found


def run_module(module, words):
    """``python -m module *words`` in this process."""
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def answer(request):
    """Carry out a request in a fork; its exit code."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.executable = shutil.which("python")  # what a command starts itself is a fork too
    sys.path[0] = request["cwd"]
    try:
        program = getattr(Machine(), request["program"].replace(".", ""))
        program(request["words"])()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        return code_of_hook(*sys.exc_info())
    return 0


def code_of_hook(*error):
    """Show an error as the command does, whose hook may end the process with a code of its own."""
    with mock.patch("os._exit", sys.exit):
        try:
            sys.excepthook(*error)
        except SystemExit as end:
            return end.code
    return 1


def note_seconds(request):
    """A line in ``seconds.txt`` of the machine: what a command computed, its forks included."""
    with (Path(request["env"]["PAGE_WORLD"]) / "seconds.txt").open("a") as file:
        file.write(f"{sum(os.times()[:4]):8.1f}  {request['program']} {' '.join(request['words'])}\n")


def read_once(request):
    """Keep what the scans of a request are made of: its words, or the page's name, have its bundle in them."""
    from page_reader import HEAD_AND_NECK, SETS, thinned

    for name, data in {**SETS, "hecktor": HEAD_AND_NECK}.items():
        if name in request:
            thinned(*data[:2])


def die_with_parent():
    """None outlives the test."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def serve(path):
    """A fork for each program that calls."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    die_with_parent()
    kept = preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while kept:
            caller, _ = server.accept()
            text, streams, _, _ = socket.recv_fds(caller, 1 << 20, 3)
            read_once(text.decode())
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                die_with_parent()
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                request = json.loads(text)
                code = answer(request)
                note_seconds(request)
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
                caller.sendall(str(code).encode())
                os._exit(0)
            caller.close()
            for stream in streams:
                os.close(stream)


if __name__ == "__main__":
    serve(sys.argv[1])

"""Everything that needs a large GPU, in parts: ``ci/gpu`` runs this.

    python tests/benchmarks/gpu.py                     # all parts that are not done, at most 40 minutes
    python tests/benchmarks/gpu.py --parts mae gan     # some of them
    python tests/benchmarks/gpu.py --miniature         # all in small on a CPU, which tests the script

Each part runs in a process of its own and prints one JSON object per line. They are kept in ``--results`` as they come,
with the device, the versions and the command. A part that is done is skipped the next time; one that was stopped runs
again. A variant that cannot run leaves its error in its row, and the others go on. The last part, ``evidence``, takes
the time that is left and goes on in the next call; it needs ``MONAI_EXT_REAL_DATA``. Times are medians of ``--rounds``
steps after two that are not counted, in seconds; memory is the peak of CUDA's allocator above what was allocated
before, in GiB. ``gpu_tables.py`` writes the tables of the READMEs from the results.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from evidence import COMPARISONS, SMALL, compare, real_data

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

Row = dict[str, Any]


@dataclass
class Run:
    """Where a part runs, whether in small, over how many rounds, and for how many minutes at most."""

    device: str
    small: bool
    rounds: int
    minutes: float = 10.0


def measured(make: Callable[[], Callable[[], Any]], run: Run) -> Row:
    """Median seconds and peak memory of the step that ``make`` builds; its error where it cannot run."""
    gpu = run.device == "cuda"
    gc.collect()
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if gpu else 0
    try:
        step, times = make(), []
        for turn in range(run.rounds + 2):
            start = time.perf_counter()
            step()
            if gpu:
                torch.cuda.synchronize()
            if turn >= 2:
                times.append(time.perf_counter() - start)
    except torch.OutOfMemoryError:
        return {"error": "out of memory"}
    except Exception as error:
        traceback.print_exc()
        return {
            "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200],
            "failed": 1,
        }
    row: Row = {"seconds": statistics.median(times), "rounds": run.rounds}
    return row | ({"gibibytes": (torch.cuda.max_memory_allocated() - before) / 2**30} if gpu else {})


def mae(run: Run) -> Iterator[Row]:
    """Prostate MAE's step beside MONAI's network."""
    import mae as benchmark

    size = 4 if run.small else 64
    for name in benchmark.VARIANTS:
        if run.device == "cpu" and name == "stock bf16":
            continue  # MONAI's network writes bf16 into an fp32 buffer
        result = measured(lambda name=name: benchmark.build(name, size, run.device), run)
        yield {"what": f"step, batch {size} of 3x88x88", "variant": name} | result


def anatomask(run: Run) -> Iterator[Row]:
    """AnatoMask's step, teacher included, beside the published design."""
    import anatomask as benchmark

    size, image, batch = ("S", [32, 32, 32], 1) if run.small else ("B", [112, 112, 128], 4)
    what = f"step, STU-Net {size}, batch {batch} of {'x'.join(map(str, image))}"
    wanted = ("plain", "plain, bf16", "ours, fp32", "ours, bf16, torch's layout", "ours, bf16 (default)")
    for variant in (variant for variant in benchmark.VARIANTS if variant.name in wanted):
        yield {"what": what, "variant": variant.name} | measured(
            lambda v=variant: benchmark.Step(v, size, image, batch, run.device), run
        )


def mlstm(run: Run) -> Iterator[Row]:
    """The xLSTM block beside its quadratic form and, where it is installed, the published package."""
    import mlstm as benchmark

    options = argparse.Namespace(bidirectional=False, device=run.device, compile=False)
    for tokens in [128] if run.small else [2048, 8192]:
        for form in benchmark.FORMS:
            for amp in (False, True):

                def make(form: str = form, tokens: int = tokens, amp: bool = amp) -> Callable[[], Any]:
                    module = benchmark.build(form, options)
                    x = torch.randn(1, tokens, 320, device=run.device, requires_grad=True)

                    def step() -> None:
                        with torch.autocast(run.device, torch.bfloat16, enabled=amp):
                            y = module(x)
                        y.float().mean().backward()

                    return step

                name = {"ours": "chunkwise (ours)"}.get(form, form) + (", bf16" if amp else ", fp32")
                yield {"what": f"block of dim 320, {tokens} tokens", "variant": name} | measured(make, run)


def gan(run: Run) -> Iterator[Row]:
    """Five discriminator updates and one of the generator beside the published loop, term by term."""
    import fixed_point_gan as benchmark

    image, batch = (32, 2) if run.small else (128, 16)
    narrow = {"channels": 4} if run.small else {}
    options = argparse.Namespace(device=torch.device(run.device), image=image, narrow=narrow)
    pixels = torch.rand(batch, 1, image, image, device=run.device) * 1.8 - 0.9
    domain = torch.arange(batch, device=run.device) % 2

    def make(plain: bool, amp: bool) -> Callable[[], Any]:
        if plain:
            loop = benchmark.Plain(*benchmark.networks(options, "tanh"), amp=amp)

            def step() -> None:
                for _ in range(5):
                    loop.discriminator(pixels, domain)
                loop.generator(pixels, domain)
        else:
            ours = benchmark.Ours(*benchmark.networks(options, "clamp"), amp=amp)

            def step() -> None:
                for _ in range(4):
                    ours.run(pixels, domain, 2)
                ours.run(pixels, domain, 1)  # a discriminator update, and the generator's

        return step

    for plain in (True, False):
        for amp in (False, True):
            name = ("plain" if plain else "ours") + (", bf16" if amp else ", fp32")
            result = measured(lambda plain=plain, amp=amp: make(plain, amp), run)
            yield {"what": f"5 D + G, batch {batch} of {image}x{image}", "variant": name} | result


def amlp(run: Run) -> Iterator[Row]:
    """AMLP's step beside random masks and the plain error, with the same U-Net."""
    from phase_steps import build, phase_named

    phase = phase_named("amlp pretrain")
    plain = {
        "masker": {"_target_": "monai_ext.maskers.RandomMasker", "num_patches": 256, "mask_ratio": 0.75},
        "loss": {"_target_": "monai_ext.losses.MaskedPatchLoss", "patch_size": "@patch_size", "normalize": False},
    }
    small = phase.small if run.small else {}
    for name, settings in (("random masks", plain), ("AMLP", {})):
        yield {"what": "step of the config", "variant": name} | measured(
            lambda settings=settings: _one_step(*build(phase, run.device, 1, {**small, **settings})[:2]), run
        )


def _one_step(trainer: Any, batch: dict[str, Any]) -> Callable[[], Any]:
    trainer.state.iteration = trainer.state.epoch = trainer.state.epoch_length = 1
    return lambda: trainer._iteration(trainer, dict(batch))


LAYOUT = "$@network_def.to(@device).to(memory_format=torch.channels_last{})"
COMPILED = "$monai_ext.networks.compiled(@network_def.to(@device), mode='{}')"


def steps(run: Run) -> Iterator[Row]:
    """A step of every phase at the sizes of its config, and what types, layout, fusion and CUDA graphs change."""
    from phase_steps import PHASES, build

    for phase in PHASES:
        flat = "img_size" in phase.image
        variants: dict[str, dict[str, Any]] = {"as configured": {}, "fp32": {"amp": False}}
        if not phase.domain:
            variants["optimizer not fused"] = {"optimizer#fused": False}
            variants["channels last"] = {"network": LAYOUT.format("" if flat else "_3d")}
            variants["compiled"] = {"network": COMPILED.format("default")}
            variants["compiled, CUDA graphs"] = {"network": COMPILED.format("reduce-overhead")}
        for name, settings in list(variants.items())[: 1 if run.small else None]:
            small = phase.small if run.small else {}
            yield {"what": f"step of {phase.name}", "bundle": phase.bundle, "variant": name} | measured(
                lambda p=phase, s={**small, **settings}: _one_step(*build(p, run.device, 1, s)[:2]), run
            )


def body(shape: tuple[int, int, int]) -> torch.Tensor:
    """A PET/CT, ``[1, 2, *shape]``, scaled and clipped: an ellipse of tissue, 28 % of each slice, in air."""
    x, y = (torch.linspace(-1, 1, n) for n in shape[:2])
    inside = (x[:, None] / 0.72).square() + (y / 0.5).square() < 1
    planes = torch.stack([torch.where(inside, 0.0, -3.3), torch.where(inside, 0.5, -0.75)])
    noise = 0.1 * torch.randn(1, 2, *shape) * inside[..., None]
    return planes[None, ..., None].repeat(1, 1, 1, 1, shape[2]) + noise


def inference(run: Run) -> Iterator[Row]:
    """A whole body through autoPET's network: all windows, and those that meet the body."""
    from phase_steps import parse, phase_named

    from monai_ext.inferers import SlidingWindow

    phase = phase_named("autopet_bixlstm train")
    parser = parse(phase, run.device, phase.small if run.small else {})
    network = parser.get_parsed_content("network").eval()
    roi = parser.get_parsed_content("crop_size")
    shape = (64, 64, 80) if run.small else (400, 400, 326)
    volume = body(shape).to(run.device)
    for name, options in (("all windows", {}), ("windows over the body alone", {"body": 0.005})):
        window = SlidingWindow(roi, pad_value=None, argmax=True, **options)
        count = 0

        def counted(x: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            return network(x)

        result = measured(lambda w=window: lambda: w(volume, counted), Run(run.device, run.small, 1))
        yield {"what": f"whole body {'x'.join(map(str, shape))}", "variant": name, "forwards": count // 3} | result


def loader(run: Run) -> Iterator[Row]:
    """Crops per second of autoPET's loader, and the share of a step that waits for data, by workers."""
    import pipeline
    from ignite.engine import Events
    from ignite.engine.events import Events as E
    from phase_steps import build, phase_named

    from monai_ext.data import TrainLoader

    phase = phase_named("autopet_bixlstm train")
    shape = (48, 48, 48) if run.small else (400, 400, 326)
    count = 4 if run.small else 40
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for workers in [0] if run.small else [0, 4, 8, 12]:
            trainer, _, parser = build(phase, run.device, count, phase.small if run.small else {})
            size = parser.get_parsed_content("crop_size")
            data = pipeline.dataset(folder, shape, size, None, count * 2)
            load = TrainLoader(data, 2, workers, shuffle=False)
            clock = {"wait": 0.0, "begin": 0.0, "start": 0.0}

            def got(engine: Any, clock: dict[str, float] = clock) -> None:
                clock["wait"] += time.perf_counter() - clock["begin"] if engine.state.iteration >= 2 else 0.0

            def ask(engine: Any, clock: dict[str, float] = clock) -> None:
                clock["begin"] = time.perf_counter()
                if engine.state.iteration == 2:  # workers have started, kernels are chosen
                    clock["start"] = clock["begin"]

            trainer.add_event_handler(Events.GET_BATCH_STARTED, ask)
            trainer.add_event_handler(E.GET_BATCH_COMPLETED, got)
            trainer.state.dataloader = trainer.data_loader = load
            trainer.state.epoch_length = count
            trainer.run()
            if run.device == "cuda":
                torch.cuda.synchronize()
            total = time.perf_counter() - clock["start"]
            yield {
                "what": f"{count} steps, batch 2 of {'x'.join(map(str, size))}", "variant": f"{workers} workers",
                "seconds": total / (count - 2), "crops_per_second": 2 * (count - 2) / total,
                "waiting": clock["wait"] / total,
            }  # fmt: skip


def tests(run: Run) -> Iterator[Row]:
    """The tests marked ``gpu``."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "gpu", "tests/gpu"]
    command += ["-k", "not step"] if run.small else []  # test_no_host_sync.py has them on a CPU
    environment = {**os.environ, "MONAI_EXT_TEST_DEVICE": run.device, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    yield {"what": "tests marked gpu", "seconds": time.perf_counter() - start, **counts, "failures": failed}
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:], file=sys.stderr)


def evidence(run: Run) -> Iterator[Row]:
    """Tables on few labels, in what time is left."""
    if run.small:
        yield from compare([SMALL], None, run.minutes, 0, 1)
    else:
        yield from compare(COMPARISONS, real_data(), run.minutes, phase_minutes=3, draws=10)


#: Part -> its function and the most minutes that it may take, None for what is left; in this order.
PARTS: dict[str, tuple[Callable[[Run], Iterator[Row]], float | None]] = {
    "tests": (tests, 6),
    "mae": (mae, 2),
    "anatomask": (anatomask, 4),
    "mlstm": (mlstm, 3),
    "gan": (gan, 3),
    "amlp": (amlp, 2),
    "steps": (steps, 9),
    "inference": (inference, 4),
    "loader": (loader, 7),
    "evidence": (evidence, None),
}


def machine(run: Run) -> Row:
    """What the figures were measured on."""
    gpu = run.device == "cuda"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    return {
        "device": torch.cuda.get_device_name() if gpu else f"CPU ({platform.machine()})",
        "miniature": run.small, "cores": os.cpu_count(), "commit": commit.strip() or None,
        "torch": torch.__version__, "python": platform.python_version(), "cuda": torch.version.cuda,
    }  # fmt: skip


def run_part(name: str, run: Run, minutes: float, keep: Callable[[Row], None]) -> str | None:
    """Run a part in a process of its own, in small in this one; hand on its rows as they come.

    Returns:
        What went wrong, or None.
    """
    if run.small:
        try:
            for row in PARTS[name][0](run):
                keep(row)
        except SystemExit as end:
            return f"exit code {end.code}"
        return None
    command = [sys.executable, "-W", "ignore", __file__, "--part", name, "--device", run.device]
    command += ["--rounds", str(run.rounds), "--minutes", str(minutes)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(60 * minutes, process.kill)
    timer.start()
    try:
        for line in process.stdout or ():
            if line.startswith("{"):
                keep(json.loads(line))
        code = process.wait()
    finally:
        late = not timer.is_alive()
        timer.cancel()
        process.kill()
    return f"stopped after {minutes:.1f} minutes" if late else f"exit code {code}" if code else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=40.0, help="for all parts together")
    parser.add_argument("--results", type=Path, help="JSON of the results; by default build/gpu/<device>.json")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--miniature", action="store_true")
    parser.add_argument("--again", action="store_true", help="run parts that are done, too")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    run = Run("cpu", True, 1) if args.miniature else Run(args.device, False, args.rounds, args.minutes)
    if args.part:
        for row in PARTS[args.part][0](run):
            print(json.dumps(row), flush=True)
        return
    if run.device == "cpu" and not run.small:
        sys.exit("no CUDA device: full sizes would take hours on a CPU; --miniature tests the script")
    here = machine(run)
    slug = re.sub(r"\W+", "_", here["device"]).strip("_").lower()
    path = args.results or ROOT / "build" / "gpu" / f"{slug}.json"
    state: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"machine": here, "parts": {}}
    if state["machine"] | {"commit": None} != here | {"commit": None}:
        sys.exit(f"{path} holds the results of another machine or version: give another --results")

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(path)

    end, failed = time.monotonic() + 60 * args.minutes, False
    for name in args.parts:
        if state["parts"].get(name, {}).get("done") and not args.again:
            print(f"{name}: done already")
            continue
        left = (end - time.monotonic()) / 60
        if left <= 0.2:
            print(f"{name}: no time is left; run the command again")
            continue
        if name == "evidence" and not run.small and real_data() is None:
            print("evidence: MONAI_EXT_REAL_DATA names no folder: there is nothing to compare on")
            continue
        part = state["parts"][name] = {"commit": here["commit"], "rows": [], "done": False}
        start = time.monotonic()

        def keep(row: Row, part: Row = part, name: str = name) -> None:
            part["rows"].append(row)
            save()
            shown = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()]
            print(f"{name}: {', '.join(shown)}", flush=True)

        problem = run_part(name, run, min(left, PARTS[name][1] or left), keep)
        part |= {"seconds": time.monotonic() - start, "done": problem is None, "problem": problem}
        failed |= problem is not None or any(row.get("failed") for row in part["rows"])
        save()
        print(f"{name}: {problem or 'done'} after {part['seconds']:.0f} s", flush=True)
    print(f"results in {path}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""A process that has imported everything and runs each command in a fork of itself: seconds saved per command.

A line of JSON on stdin is a list of requests that start together, each with argv (``["-m", "monai.bundle", ...]``),
cwd, env, limits, watch (see file_events.py), stdout, stderr. The answer is ``{"pids"}`` when the forks exist, and
``[{"returncode", "peak_mb"}]`` when they have ended.
"""

import json
import logging
import os
import resource
import runpy
import sys
import warnings

from file_events import watch


def preload():
    """Import what a bundle's commands need."""
    import itk
    import matplotlib.figure  # noqa: F401
    import monai.bundle
    import monai.engines
    import monai.handlers
    import torch.utils.tensorboard

    from monai_ext.bundle_process import import_parts

    import_parts()
    for name in ("ImageIOFactory", "GDCMImageIO", "GDCMSeriesFileNames", "ImageFileReader", "ImageSeriesReader"):
        getattr(itk, name)
    return monai.bundle, torch.utils.tensorboard


def run(request):
    """Become ``python *argv``; never returns."""
    os.setsid()
    for number, key in ((1, "stdout"), (2, "stderr")):
        handle = os.open(request[key], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for name, value in request["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if "FSIZE" in request["limits"]:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does: a write fails with EFBIG instead
    flag, target, *arguments = request["argv"]
    assert flag == "-m"
    sys.argv, sys.path[0] = [target, *arguments], request["cwd"]
    code, done = 0, watch(**request["watch"]) if request["watch"] else lambda: None
    try:
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    done()
    os._exit(code)


def main():
    """Serve until stdin ends."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    kept = preload()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    print(json.dumps({"ready": bool(kept)}), file=answers)
    for line in sys.stdin:
        requests = json.loads(line)
        pids = []
        for request in requests:
            pids.append(os.fork())
            if pids[-1] == 0:
                run(request)
        print(json.dumps({"pids": pids}), file=answers)
        ended = []
        for pid in pids:
            _, status, usage = os.wait4(pid, 0)
            ended.append({"returncode": os.waitstatus_to_exitcode(status), "peak_mb": usage.ru_maxrss / 1024})
        print(json.dumps(ended), file=answers)


if __name__ == "__main__":
    main()

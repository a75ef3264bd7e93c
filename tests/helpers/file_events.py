"""Count what a process does to the files below a folder, and end it at one of these events.

An event is the opening of a file to write, a rename, a removal, or a new folder, as Python's audit events tell.
"""

import os
import signal
import sys
import threading

NAMES = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0}  # and the argument that is the path
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def watch(folder, note, at=None, number=signal.SIGKILL, late=0.0):
    """Note the number of events in a file; at event number ``at`` the process gets a signal.

    Args:
        folder: what happens below it counts.
        note: takes the number when the process ends by itself.
        at: the event, from 1; None ends nothing.
        number: of the signal.
        late: seconds after the event, such as when a file is half-written; 0 is before it.
    """
    count, process = 0, os.getpid()

    def hook(event, arguments):
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITES:
                return
        elif event in NAMES:
            path = arguments[NAMES[event]]
        else:
            return
        if os.getpid() != process or not isinstance(path, str | os.PathLike):
            return
        if not os.path.abspath(path).startswith(folder):
            return
        count += 1
        if count == at and late:
            threading.Timer(late, os.kill, (process, number)).start()
        elif count == at:
            os.kill(process, number)

    sys.addaudithook(hook)
    return lambda: os.write(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), str(count).encode())

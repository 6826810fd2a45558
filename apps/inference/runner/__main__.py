"""`python -m apps.inference.runner --events-fd N`: started by a worker, never by hand."""

import argparse
import os
import sys
import threading

from apps.inference.runner.host import Host
from apps.inference.runner.protocol import Events

SWITCH_SECONDS = 0.0005  # a thread that wants the interpreter waits no longer; a step is tens of milliseconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="runner")
    parser.add_argument("--events-fd", type=int, required=True)
    arguments = parser.parse_args()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # native code that prints must not reach anybody's protocol
    sys.setswitchinterval(SWITCH_SECONDS)
    threading.excepthook = _end_of_a_thread
    return Host(sys.stdin.buffer, Events(arguments.events_fd)).run()


def _end_of_a_thread(args: threading.ExceptHookArgs) -> None:
    """A runner that lost one of its threads would be silent for ever; the worker can tell everybody that it died."""
    sys.excepthook(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    os._exit(70)  # EX_SOFTWARE


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # llama.cpp's own tear-down has nothing to save, and threads may be in the middle of it

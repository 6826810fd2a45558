"""A process as apps/registry/children.py starts them, which does what a test asks for. Not a test itself."""

import ctypes
import os
import resource
import time
from pathlib import Path
from typing import Any

from apps.errors import Problem
from apps.registry import confinement


def work(command: dict[str, Any], tell: confinement.Tell) -> dict[str, Any]:
    kind = command["work"]
    if kind == "crash":
        ctypes.string_at(0)
    if kind == "leave":
        os._exit(3)
    if kind == "raise":
        raise KeyError(kind)
    if kind == "fill":
        while True:
            os.write(command["output"], bytes(65536))
    if kind == "swell":
        return {"size": len(bytearray(2**31))}
    if kind == "refuse":
        raise Problem("invalid", "this cannot be")
    if kind == "sleep":
        time.sleep(600)
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "no_new_privs": "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(encoding="utf-8"),
        "secrets": [name for name in os.environ if name.startswith(("CORRAL", "DJANGO", "DATABASE", "REDIS"))],
        "root": os.geteuid() == 0,
    }


if __name__ == "__main__":
    confinement.serve(work)

"""A supervisor with two small children, run as a script by test_supervisor.py: `python small_house.py <folder>`.

Each child notes its start and its stop in `<folder>/journal`. `second` has a child of its own; with a file
`<folder>/deaf` there, both ignore being asked to stop.
"""

import asyncio
import sys
from pathlib import Path

from corral import leftovers
from corral.processes import Process, StartError
from corral.supervisor import StopAsked, Supervisor

CHILD = """
import os, signal, subprocess, sys, time
folder, name = sys.argv[1:]
def note(line):
    with open(folder + "/journal", "a") as journal:
        journal.write(line + "\\n")
def stop(*_):
    note(name + " stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.path.exists(folder + "/deaf") else stop)
if name == "second":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
note(f"{name} started {os.getpid()}")
if os.path.exists(folder + "/doomed"):
    sys.exit(3)
time.sleep(60)
"""


def child(folder: Path, name: str) -> Process:
    return Process(name=name, command=[sys.executable, "-c", CHILD, str(folder), name], grace=1.0)


async def live(folder: Path) -> None:
    async with Supervisor(folder / "processes.json") as supervisor:
        try:
            for name in ("first", "second"):
                await supervisor.start(child(folder, name))
            (folder / "doomed").exists() or supervisor.settled()
            await supervisor.serve()
        except StopAsked:
            pass


if __name__ == "__main__":
    where = Path(sys.argv[1])
    leftovers.stop_all(where / "processes.json")
    try:
        asyncio.run(live(where))
    except StartError as error:
        sys.exit(str(error))

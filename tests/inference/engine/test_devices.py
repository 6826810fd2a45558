"""What this machine can compute on."""

import json
import subprocess
import sys


def test_every_device_is_told_with_its_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "apps.inference.engine.devices"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    cpu = next(device for device in found if device["type"] == "cpu")
    assert set(cpu) == {"name", "description", "type", "memory_free", "memory_total"}
    assert 0 < cpu["memory_free"] <= cpu["memory_total"]

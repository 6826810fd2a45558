"""The converter as the registry runs it: in a confined child, from files to a GGUF."""

from pathlib import Path
from typing import Any

from apps.registry import children


def convert(files: dict[str, Path], output: Path, **more: Any) -> dict[str, Any]:
    """`files` are a checkpoint's by their names. What the child says of the model. Raises Problem."""
    with output.open("xb", buffering=0) as file:
        return children.run(
            "apps.registry.conversion",
            files=files,
            output=file,
            output_bytes=2**30,
            heard=lambda name: None,
            check=lambda: None,
            **{"memory_bytes": 4 * 2**30, **more},
        )

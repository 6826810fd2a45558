"""The GGUF file: its head, then one tensor after the other, so that only one is ever in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gguf import GGUFWriter

from apps.registry.conversion.planning import Ready

Told = Callable[[str], None]


def write(writer: GGUFWriter, ready: Sequence[Ready], output: int, told: Told) -> None:
    """Into the open descriptor `output`; `told` hears the name of each tensor that is written."""
    for each in ready:
        size = each.dtype.itemsize
        for rows in each.plan.shape:
            size *= rows
        writer.add_tensor_info(each.plan.name, each.plan.shape, each.dtype, size, each.type)
    writer.write_header_to_file(Path(f"/proc/self/fd/{output}"))
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for each in ready:
        writer.write_tensor_data(each.array())
        told(each.plan.name)
    writer.close()

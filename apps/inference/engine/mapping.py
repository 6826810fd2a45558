"""The model's file as it is mapped into this process."""

import ctypes
import os
import sys
from collections.abc import Iterator

_DONT_NEED = 4  # MADV_DONTNEED of madvise(2)


def let_go(file: os.stat_result) -> int:
    """Take the pages of a mapped file out of this process until it reads them again; the bytes that were mapped.

    llama.cpp maps all of a file and then copies the tensors that it computes faster in another order: of these nobody
    ever reads the file's pages again. Does nothing where there is no Linux.
    """
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    freed = 0
    for start, length in _ranges(file):
        if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _DONT_NEED) == 0:
            freed += length
    return freed


def _ranges(file: os.stat_result) -> Iterator[tuple[int, int]]:
    """Address and length of each mapping of this file that is only read (proc_pid_maps(5))."""
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    with open("/proc/self/maps") as maps:
        for line in maps:
            addresses, rights, _, where, inode, *_ = line.split(maxsplit=5)
            if where == device and int(inode) == file.st_ino and "w" not in rights:
                start, end = (int(address, 16) for address in addresses.split("-"))
                yield start, end - start

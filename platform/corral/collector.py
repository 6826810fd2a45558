"""How Python's collector of cycles works in the processes that requests go through."""

import gc
from typing import Final

YOUNG: Final = 10_000  # objects more than before, when the collector looks at the new ones; Python's own is 700


def spare_what_is_loaded() -> None:
    """To be called once all is loaded. What was loaded stays until the process ends, and is not looked through again.

    A request makes and drops some thousand objects, so with Python's own number each is held up by a collection or two.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)

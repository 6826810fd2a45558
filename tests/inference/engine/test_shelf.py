"""Memory of parked caches is used again, and never grows beyond what was in use at once."""

from apps.inference.engine.shelf import Saved, Shelf


def address(saved: Saved) -> int:
    return int(saved.buffer.ctypes.data)


def test_what_was_let_go_of_is_used_again() -> None:
    shelf = Shelf()
    saved = shelf.take(1000)
    before = address(saved)
    del saved
    assert shelf.bytes == 1125
    again = shelf.take(1100)  # the conversation has grown
    assert address(again) == before and shelf.bytes == 1125


def test_the_smallest_that_fits_is_taken_and_none_that_is_far_too_large() -> None:
    shelf = Shelf()
    kept = [shelf.take(size) for size in (4000, 1500, 1000)]
    places = [address(saved) for saved in kept]
    kept.clear()
    fitting, small = shelf.take(1120), shelf.take(10)
    assert address(fitting) == places[2]
    assert small.buffer.size < 20


def test_no_more_is_held_than_was_in_use_at_once() -> None:
    shelf = Shelf()
    for size in range(1000, 9000, 1000):
        saved = shelf.take(size)
        del saved
        assert shelf.bytes == size + size // 8
    one, other = shelf.take(3000), shelf.take(3000)
    assert shelf.bytes <= 9000
    del one, other
    assert shelf.bytes <= 9000

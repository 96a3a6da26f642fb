from monitoring.checking.remembered import HALF, KEPT, Remembered


def remembered() -> Remembered[list[int]]:
    return Remembered(lambda number: [number])


def test_who_asks_again_gets_the_same() -> None:
    found = remembered()
    assert found.of((1,)) is found.of((1,))


def test_what_is_asked_for_now_and_then_stays_and_the_rest_is_forgotten() -> None:
    found = remembered()
    often, once = found.of((1,)), found.of((2,))
    for turn in range(1, 4):
        found.turn(turn * KEPT)
        assert found.of((1,)) is often
    assert found.of((2,)) is not once


def test_nothing_is_forgotten_before_its_time() -> None:
    found = remembered()
    found.turn(KEPT)
    once = found.of((1,))
    for seconds in range(0, int(KEPT), 10):
        found.turn(KEPT + seconds)
    found.turn(2 * KEPT)
    assert found.of((1,)) is once


def test_however_many_are_asked_for_at_once_no_more_are_kept() -> None:
    found = remembered()
    for number in range(4 * HALF):
        found.of((number,))
        found.turn(1.0)
    assert len(found._young) + len(found._old) <= 2 * HALF

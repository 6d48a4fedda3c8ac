"""An interruption is recorded once, whatever the attempts before it contained."""

from __future__ import annotations

from app.audit.failure import Failure


def ignore(_is_failing: bool) -> None:
    """Nobody wants to know."""


def test_interruption_is_recorded_once() -> None:
    failure = Failure(ignore)
    failure.begin("the disk is full")
    assert len(failure.interruption()) == 1
    assert len(failure.interruption()) == 1, "the first attempt failed"
    failure.confirm()
    assert failure.interruption() == []


def test_interruption_is_recorded_after_a_batch_from_before_it_was_found() -> None:
    failure = Failure(ignore)
    assert failure.interruption() == []
    failure.begin("the connection was lost")
    failure.confirm()
    assert len(failure.interruption()) == 1


def test_lost_records_are_recorded_with_their_number() -> None:
    failure = Failure(ignore)
    failure.drop(3)
    (record,) = failure.interruption()
    assert (record.event, record.count) == ("interruption", 3)
    failure.confirm()
    failure.drop(2)
    (record,) = failure.interruption()
    assert record.count == 2

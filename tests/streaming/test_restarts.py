"""When a query is started again: a few times for its own failures, as long as it takes for a store that is away."""

import pytest

from streaming.fenced_writer import ViewsLost
from streaming.restarts import LIMIT, LONGEST_WAIT_S, QueryFailed, Restarts
from tidemark.errors import CheckpointDamaged, Fault, SourceLost, SourceUnavailable, StaleWriter, ViewsUnavailable


class Lane:
    """A query whose every start fails."""

    lane = "exact"
    name = "access/exact"
    checkpoint = "/checkpoints/access/exact"
    failure = None

    def __init__(self, error: Exception, mended: int = 0) -> None:
        self.error = error
        self.starts = 0
        self.mended = mended

    def start(self, *, once: bool) -> None:
        self.starts += 1
        raise self.error

    def mend(self, error: BaseException) -> bool:
        self.mended -= 1
        return self.mended >= 0

    def finished(self) -> bool:
        return False


def run(error: Exception, *, once: bool = False, seconds: int = 1200, mended: int = 0) -> Lane:
    """Look after a lane, second by second."""
    clock = [0.0]
    restarts, lane = Restarts(lambda: clock[0]), Lane(error, mended)
    restarts.start(lane, once=once)  # type: ignore[arg-type]
    for second in range(seconds):
        clock[0] = float(second)
        restarts.look_after(lane, once=once)  # type: ignore[arg-type]
    return lane


@pytest.mark.parametrize(
    "error",
    [
        ViewsUnavailable("Redis does not answer"),
        SourceUnavailable("the broker does not answer"),
        RuntimeError("... Caused by: org.apache.kafka.common.errors.TimeoutException: Timed out waiting ..."),
    ],
)
def test_a_store_that_is_away_is_waited_for_without_end_and_asked_often(error: Exception) -> None:
    lane = run(error)
    assert lane.starts >= 1200 / LONGEST_WAIT_S


@pytest.mark.parametrize("error", [ViewsLost("gone"), Fault("broken"), ValueError("broken")])
def test_a_failure_of_its_own_is_given_up(error: Exception) -> None:
    with pytest.raises(QueryFailed, match=f"access/exact failed {LIMIT} times"):
        run(error)


def test_a_full_disk_is_told_also_when_later_attempts_fail_of_what_it_left() -> None:
    """Java cannot use a class again whose library it could not unpack."""
    lane = Lane(OSError("Cannot unpack libzstd: No space left on device"))
    restarts = Restarts()
    restarts._failed(lane, lane.error, once=False)  # type: ignore[arg-type]
    for _ in range(LIMIT - 2):
        restarts._failed(lane, RuntimeError("Could not initialize class"), once=False)  # type: ignore[arg-type]
    with pytest.raises(QueryFailed, match=r"the disk is full: .*; last: .*Could not initialize class"):
        restarts._failed(lane, RuntimeError("Could not initialize class"), once=False)  # type: ignore[arg-type]


def test_once_does_not_wait_for_ever() -> None:
    with pytest.raises(QueryFailed):
        run(ViewsUnavailable("Redis does not answer"), once=True)


@pytest.mark.parametrize("error", [StaleWriter("replaced"), SourceLost("deleted")])
def test_what_no_restart_can_mend_ends_at_once(error: Exception) -> None:
    with pytest.raises(type(error)):
        run(error, seconds=0)


def test_a_failure_whose_cause_was_taken_away_is_not_counted() -> None:
    lane = run(ValueError("broken"), seconds=LIMIT + 1, mended=2 * LIMIT)
    assert lane.starts == LIMIT + 2


def test_a_damaged_checkpoint_is_named_when_spark_keeps_failing_on_it() -> None:
    error = RuntimeError("Checksum error: file:/checkpoints/access/exact/state/0/1/4.changelog at 0")
    with pytest.raises(CheckpointDamaged, match=r"state/0/1/4\.changelog cannot be read.*reset-speed"):
        run(error, mended=9)

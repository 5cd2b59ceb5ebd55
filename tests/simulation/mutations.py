"""Ways to break the protocol, one rule each. A simulation that does not notice one of them proves nothing about it.

Each takes a MonkeyPatch and breaks the product's code or the model of Redis's scripts until the test ends.
"""

from tests.simulation import broken_batch, broken_reader, broken_stream
from tests.simulation.broken_stream import Mutation

MUTATIONS: dict[str, Mutation] = {
    "no STALE check": broken_stream.without("refuses_stale"),
    "no LOST check": broken_stream.without("refuses_lost"),
    "steps of a batch not checked": broken_stream.without("checks_steps"),
    "every script moves the fence": broken_stream.without("only_last_moves"),
    "a claim leaves the progress of doubtful views": broken_stream.without("claim_withdraws"),
    "a claim does not exceed the checkpoint's epoch": broken_stream.without("claim_exceeds"),
    "a claim does not look again": broken_stream.without("claim_looks_again"),
    "increments instead of absolute values": broken_stream.increments_instead_of_absolute_values,
    "progress before windows": broken_stream.progress_before_windows,
    "late events not told": broken_stream.late_events_not_told,
    "late minutes not durable": broken_stream.late_minutes_not_durable,
    "views always taken for intact": broken_stream.views_always_taken_for_intact,
    "views emptied without the fence": broken_stream.views_emptied_without_the_fence,
    "new families covered from the beginning": broken_stream.new_families_covered_from_the_beginning,
    "watermark told too high": broken_stream.watermark_told_too_high,
    "as_of by the clock": broken_stream.as_of_by_the_clock,
    "no barrier": broken_batch.no_barrier,
    "late events make nothing dirty": broken_batch.late_events_make_nothing_dirty,
    "speed expires before the pointer moves": broken_batch.speed_expires_before_the_pointer_moves,
    "pointer before the commit": broken_batch.pointer_before_the_commit,
    "unsealed speed windows expire": broken_batch.unsealed_speed_windows_expire,
    "covered_from ignored": broken_reader.with_missing(broken_reader.covered_always),
    "backlog ignored": broken_reader.with_missing(broken_reader.no_backlog),
    "always incomplete": broken_reader.always_incomplete,
    "both layers at the seam": broken_reader.both_layers_at_the_seam,
    "kept points outlive their writer": broken_reader.kept_points_outlive_their_writer,
    "kept points outlive their publication": broken_reader.kept_points_outlive_their_publication,
    "kept points of untrusted parts": broken_reader.kept_points_of_untrusted_parts,
}

"""The command `tidemark` with a place to die: `python -m tests.faults.driver PLACE… -- stream --once`.

A PLACE is `module:Class.method@N:when`: the process ends by SIGKILL at the N-th call of that function, `before` it runs
or `after` it returned, as if the machine had lost power there. The product has no hook for this: the function is
wrapped from outside, everything else is the real thing. With `stop` it is paused before the call (SIGSTOP), as on a
machine that hangs.
"""

import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from cli.main import main

WHEN = ("before", "after", "stop")


def arm(place: str) -> None:
    """Wrap the function that a PLACE names."""
    target, rest = place.split("@")
    count, when = rest.split(":")
    if when not in WHEN:
        raise ValueError(f"{place}: {when!r} is none of {', '.join(WHEN)}")
    module, path = target.split(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    setattr(owner, name, _deadly(getattr(owner, name), int(count), when))


def _deadly(function: Callable[..., Any], nth: int, when: str) -> Callable[..., Any]:
    numbers = itertools.count(1)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        number = next(numbers)  # of this call: others may begin before it returns
        if number == nth and when != "after":
            os.kill(os.getpid(), signal.SIGSTOP if when == "stop" else signal.SIGKILL)
        result = function(*args, **kwargs)
        if number == nth and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return run


if __name__ == "__main__":
    split = sys.argv.index("--")
    for each in sys.argv[1:split]:
        arm(each)
    sys.exit(main(sys.argv[split + 1 :]))

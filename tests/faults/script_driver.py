"""A job as a plain script with a place to die: `… -m tests.faults.script_driver PLACE… -- spark_jobs.maintain …`."""

import sys
from importlib import import_module

from tests.faults.driver import arm

if __name__ == "__main__":
    split = sys.argv.index("--")
    for place in sys.argv[1:split]:
        arm(place)
    import_module(sys.argv[split + 1]).main(sys.argv[split + 2 :])

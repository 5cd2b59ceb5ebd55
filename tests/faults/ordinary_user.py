"""Run a command to which permissions apply, also when root runs it: `python -m tests.faults.ordinary_user CMD …`.

The capabilities that ignore permissions leave the bounding set, so that the command's exec does not get them back.
"""

import ctypes
import os
import sys

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

if __name__ == "__main__":
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "cannot give up a capability")
    os.execv(sys.argv[1], sys.argv[1:])

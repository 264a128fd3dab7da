"""Collections of garbage as rare as a process wants them that imports torch, transformers and Feast for one command.

Their imports leave a million objects that stay, and by Python's own thresholds these are gone over again and again: a
seventh of the CPU seconds of a command. Importing this module sets the thresholds for the whole process, so only the
command line and the server of worker processes do it.
"""

import gc

gc.set_threshold(10_000, 100, 10)

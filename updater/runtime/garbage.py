"""Collections of garbage as rare as a process wants them that imports torch, transformers and Feast for one command.

Their imports leave a million objects that stay. By Python's own thresholds these are gone over again and again while
they are imported, and at the end of the process once more: of six CPU seconds of imports this takes two. Importing this
module changes that for the whole process, so only the command line, Airflow's tasks and the server of worker processes
do it.
"""

import atexit
import gc

gc.set_threshold(10_000, 100, 10)
atexit.register(gc.freeze)

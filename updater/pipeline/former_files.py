"""What earlier releases kept in files of the state, and the ledger has in its place since its revision 0005."""

import json
from datetime import datetime

from updater.lake import partitions
from updater.ledger import FormerFiles, RetiredFile
from updater.state.layout import StateLayout


def former_files(layout: StateLayout, now: datetime) -> FormerFiles:
    """What such files say: retired files, and by its plan that a restatement is under way."""
    fs, inner = partitions.filesystem(layout.former_retired())
    notes = json.loads(fs.cat_file(inner)) if fs.exists(inner) else {}
    retired = [
        RetiredFile(path=path, since=datetime.fromisoformat(note["since"]), size=note["size"])
        for path, note in notes.items()
    ]
    return FormerFiles(retired=retired, restatement=now if partitions.exists(layout.restatement_plan()) else None)


def forget_former_files(layout: StateLayout) -> None:
    """Remove the list of retired files, once the ledger has it; the plan of a restatement stays one."""
    partitions.remove_file(layout.former_retired())

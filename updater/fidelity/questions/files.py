"""Sets of questions as Parquet files.

Below the state a set lies in the evaluation part, where an erasure rewrites it without the user's questions.
"""

import json
from datetime import datetime

from updater.errors import DataRefusedError
from updater.fidelity.questions.generate import digest
from updater.fidelity.questions.make import Questions
from updater.fidelity.schema import QUESTIONS
from updater.lake import partitions

_ABOUT = b"fidelity"


def write_questions(questions: Questions, path: str) -> None:
    """Write a set to `path`, atomically; `StateLayout.fidelity_questions` names the one of a day in the state."""
    about = json.dumps({"as_of": questions.as_of.isoformat(), "removed": dict(questions.removed)})
    partitions.write_table(path, questions.table.replace_schema_metadata({_ABOUT: about}))


def read_questions(path: str) -> Questions:
    """Read a set. Its digest is that of the rows in the file, of which an erasure may have taken some.

    Raises:
        DataRefusedError: the file holds no questions.
    """
    table = partitions.read_table(path)
    metadata = table.schema.metadata or {}
    if not table.schema.equals(QUESTIONS) or _ABOUT not in metadata:
        raise DataRefusedError(f"{path} holds no questions; make them again.")
    about = json.loads(metadata[_ABOUT])
    as_of = datetime.fromisoformat(about["as_of"])
    table = table.replace_schema_metadata(None)
    return Questions(table, about["removed"], digest(table, as_of), as_of)

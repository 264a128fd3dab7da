"""The questions' table: one row per question, with options, the right one, and what it rests on.

The seven sub-tasks are those of UQABench (arXiv 2502.19178, section 3): what a user's log says directly (`DF`), what
has to be counted (`MF`), the next item (`IP`) and its attribute (`AP`), what the user likes in the long (`LI`) and in
the short run (`SI`), and how that changed (`IT`).
"""

from typing import Final

import pyarrow as pa

STATE_SUBTASKS: Final = ("DF", "MF", "LI", "SI", "IT")
"""Answered by what happened before `as_of`."""
ACTION_SUBTASKS: Final = ("IP", "AP")
"""Answered by the first events at or after `as_of`: scored when their future has come."""
SUBTASKS: Final = ("DF", "MF", "IP", "AP", "LI", "SI", "IT")
"""All, in the order of the reports."""

QUESTIONS: Final = pa.schema(
    [
        ("question_id", pa.string()),  # digest of template version, user, sub-task, slot and as_of
        ("user_id", pa.string()),
        ("subtask", pa.string()),
        ("modality", pa.string()),  # empty for a question about all of them
        ("attribute", pa.string()),  # the column that is asked for; empty for a question that needs none
        ("slot", pa.string()),  # what is asked, the same string for all users who are asked it: one probe answers it
        ("text", pa.string()),  # the question in words, without its options
        ("options", pa.list_(pa.string())),  # distinct, the right one among them, in an order drawn by hash
        ("gold", pa.int32()),  # position of the right one
        ("touches_delta", pa.bool_()),  # does the right answer rest on an event of the last day before as_of?
        ("evidence", pa.list_(pa.string())),  # ids of the events that it rests on, at most eight, oldest first
        ("train", pa.bool_()),  # the user is one of those that readers are fitted to
    ]
)

WAITING: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("subtask", pa.string()),
        ("modality", pa.string()),
        ("slot", pa.string()),  # without the mark of those to whom the answer is new, which nobody knows yet
        ("text", pa.string()),
    ]
)
"""Questions about the next event that have been asked and have no answer yet, sorted by user and slot."""

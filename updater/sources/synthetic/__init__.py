"""A made-up history of six modalities, of any size. No row of it is about a real person.

It imitates the event lake of a payment platform (bills, mini programs, page blocks, searches, app lists, profiles) and
every accident that a lake has: late, duplicate, replaced and deleted rows, users who appear and users who fall silent.
It is for tests and benchmarks; a model's quality on it says nothing about real behaviour.
"""

from updater.sources.synthetic.history import land, rows_of_day
from updater.sources.synthetic.spec import MODALITIES, SNAPSHOTS, STREAMS, EventsPerActiveDay, SyntheticSpec

__all__ = ["MODALITIES", "SNAPSHOTS", "STREAMS", "EventsPerActiveDay", "SyntheticSpec", "land", "rows_of_day"]

"""The entity that every feature belongs to."""

from feast import Entity, ValueType

from updater.domain import columns

user = Entity(
    name=columns.ENTITY,
    join_keys=[columns.JOIN_KEY],
    value_type=ValueType.STRING,
    description="A user of the event lake.",
)

"""What maintenance did."""

from dataclasses import dataclass, field


@dataclass
class Part:
    """Files of one part of the state."""

    merged: int = 0
    """Files that were merged into others."""
    made: int = 0
    """Files that they were merged into."""
    dropped: int = 0
    """Files that no window, or by its age nobody, can need."""
    waiting: int = 0
    """Files that are not read any more and wait for the end of their grace."""
    removed: int = 0
    """Files that were removed."""
    bytes_removed: int = 0


@dataclass
class MaintenanceReport:
    """What maintenance did, or with `dry_run` would do."""

    ds: str
    """The watermark."""
    earliest_recomputable: str | None
    """First day whose window can be computed again; None: every day."""
    dry_run: bool
    parts: dict[str, Part] = field(default_factory=dict)

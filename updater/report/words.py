"""Numbers as a reader sees them."""


def number(value: float) -> str:
    """A whole number."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """A share (0 to 1)."""
    return f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    """A share (0 to 1) on an axis."""
    return f"{100 * share:.0f} %"


def seconds(value: float) -> str:
    """Seconds with a tenth."""
    return f"{value:,.1f}"


def spent(value: float) -> str:
    """How long something takes, in the unit that fits."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:,.1f} hours"


def ago(hours: float) -> str:
    """How long ago something was."""
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:,.0f} days"


def plain(value: float) -> str:
    """A measured value: three digits, no exponent where none is needed."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def axis_seconds(value: float) -> str:
    """Seconds on an axis."""
    return f"{value:g} s"

"""When progress is due as a line of text: often at first, seldom in a run of hours."""

FIRST, LONGEST, GROWTH = 30.0, 600.0, 0.1
"""Seconds between the first lines and between the last; the share of the time so far, between."""


class Intervals:
    """Tells when the next line is due.

    Args:
        now: The current time, in seconds.
        at_once: Whether the first line is due now, or only after :data:`FIRST` seconds.
    """

    def __init__(self, now: float, *, at_once: bool) -> None:
        self.start = now
        self.due = now if at_once else now + FIRST

    def is_due(self, now: float) -> bool:
        """Whether a line is due; if so, the next one is scheduled."""
        if now < self.due:
            return False
        self.due = now + min(LONGEST, max(FIRST, (now - self.start) * GROWTH))
        return True

"""How long a run is: so many updates, or so many minutes, whichever ends first.

"So many minutes" is the yardstick of a speed run: what a change is worth shows only when both sides
have the same time. The schedule then follows the share of the time that is used. It is handed the
length that the run will have at its speed so far, so that a decay reaches its floor with the last
step however the steps differ: on a busy machine some take twice as long as others.
"""

from __future__ import annotations

from dataclasses import dataclass

from minna.train.checkpoint import Progress

LOOKS = 10


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The end of a run.

    Attributes:
        steps: updates at most.
        seconds: of training at most (compiling, then steps; never looks or checkpoints), or None.
    """

    steps: int
    seconds: float | None = None

    def is_spent(self, now: Progress) -> bool:
        """Whether the run ends here. A step that has begun is done: it may end past the time."""
        return now.step >= self.steps or (self.seconds is not None and now.seconds >= self.seconds)

    def total(self, now: Progress) -> float:
        """Updates that the run will have had at its end, for the schedule."""
        if self.seconds is None or not now.step or not now.seconds:
            return self.steps
        return min(float(self.steps), now.step * max(1.0, self.seconds / now.seconds))

    def share(self, now: Progress) -> float:
        """How much of the run is done, 0 to 1."""
        timed = now.seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(now.step / self.steps, timed))

    def seconds_left(self, now: Progress) -> float:
        """How long the rest will take at the speed so far."""
        share = self.share(now)
        return now.seconds / share * (1 - share) if share else 0.0

    def crosses(self, before: Progress, now: Progress, *, marks: int) -> bool:
        """Whether one of so many equally distant marks lies between two places of the run."""
        return int(self.share(before) * marks) < int(self.share(now) * marks)

    def is_time_for_a_look(self, before: Progress, now: Progress) -> bool:
        """Whether a run of so many minutes passes a tenth of them here."""
        return self.seconds is not None and self.crosses(before, now, marks=LOOKS)

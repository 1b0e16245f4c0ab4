"""Runs that are stopped."""

from __future__ import annotations

import contextlib
import itertools
import signal

import pytest

from minna.train import loop
from minna.train.step import take_step


@contextlib.contextmanager
def stopping_at(step):
    """Ctrl-C in the step of that number."""
    steps = itertools.count(1)

    def counted(*args, **kwargs):
        if next(steps) == step:
            signal.raise_signal(signal.SIGINT)
        return take_step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "take_step", counted)
        yield

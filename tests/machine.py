"""What this machine lacks, in the words that `.ci/run` knows."""

from __future__ import annotations

import pytest

from minna.native import switched_off, why_not

WITHOUT_KERNELS = switched_off() or why_not() is not None
NO_KERNELS = f"no native kernels here: {why_not() or 'MINNA_KERNELS=torch'}"
needs_kernels = pytest.mark.skipif(WITHOUT_KERNELS, reason=NO_KERNELS)

"""Kernels of our own, in C++, where torch is slow on a CPU; optional everywhere.

Each file of `csrc/` is built at its first use with the compiler found here, for this very CPU, and
kept in the cache directory. Every kernel has a twin in plain torch that gives the same numbers and
steps in where there is no compiler, no AVX-512 or no Linux; one line then says so and what it
costs. `MINNA_KERNELS=torch` switches them all off.
"""

from minna.native.build import switched_off, why_not

__all__ = ["switched_off", "why_not"]

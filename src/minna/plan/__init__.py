"""What a recipe needs before it is started: bytes, traffic, time and cost, from shapes alone.

A run that ends after an hour for want of memory, or would take a year, is known in a second.
"""

from minna.plan.choose import Estimate, Plan, plan
from minna.plan.devices import Device, find, names
from minna.plan.dry import dry_run
from minna.plan.table import paper_recipes, table, write_into
from minna.plan.words import lines, settings

__all__ = [
    "Device",
    "Estimate",
    "Plan",
    "dry_run",
    "find",
    "lines",
    "names",
    "paper_recipes",
    "plan",
    "settings",
    "table",
    "write_into",
]

"""Directories with a manifest: the only thing that travels between verbs (docs/formats.md).

`writing` makes one (whole or not at all), `read_manifest` opens one, `unchanged` answers whether
the work is already done, `inspect` tells whether it is intact.
"""

from minna.artifact.atomic import Draft, replace_file, writing
from minna.artifact.manifest import (
    MANIFEST_NAME,
    Count,
    Kind,
    Licence,
    Manifest,
    Parent,
    key_of,
    parent_of,
    read_manifest,
    unchanged,
    write_manifest,
)
from minna.artifact.verify import Finding, inspect

__all__ = [
    "MANIFEST_NAME",
    "Count",
    "Draft",
    "Finding",
    "Kind",
    "Licence",
    "Manifest",
    "Parent",
    "inspect",
    "key_of",
    "parent_of",
    "read_manifest",
    "replace_file",
    "unchanged",
    "write_manifest",
    "writing",
]

"""Write manifest.json, the schema of minna.json: `python -m minna.artifact.schemas`."""

from __future__ import annotations

import json
from pathlib import Path

from minna.artifact.files import write_text_atomically
from minna.artifact.manifest import Manifest


def schema_text() -> str:
    """Return the schema of minna.json as JSON text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(schema | Manifest.model_json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_text_atomically(Path(__file__).parent / "manifest.json", schema_text())

"""From a run to a model dir that transformers loads."""

from minna.export.causal_lm import ExportSettings, export_run

__all__ = ["ExportSettings", "export_run"]

"""Recipes: one TOML per model, checked whole, built into the parts of a run."""

from minna.recipe.run import OWN_TOKENIZER, run_recipe
from minna.recipe.schema import Recipe, load, names, resolved, to_toml

__all__ = ["OWN_TOKENIZER", "Recipe", "load", "names", "resolved", "run_recipe", "to_toml"]

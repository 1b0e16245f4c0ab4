"""JSON schemas of what travels, generated from the classes that read it: one source of truth."""

"""minna (みんな, "everyone"): build, evaluate, release and use Japanese foundation models.

Importing this package costs nothing: no torch, no numpy. Everything lives in the rooms below it
(see docs/story.md for the tour), and the command line is `minna --help`.
"""

__version__ = "0.1.0"

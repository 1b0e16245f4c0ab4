"""The passes of a build: read, clean, select, write. Each goes on where a kill left it.

A pass turns numbered parts into numbered files below `stage/`; a part whose last file is there is
done. So a resumed build repeats at most the parts that were being worked on, and because each part
follows from its input alone, it ends in the same bytes as one that was never interrupted.
"""

"""The command line: one thin file per verb, each importing its room only when it is called.

`minna --help` must answer in well under half a second, so nothing here imports torch, numpy or
pyarrow at module level; a verb's imports stand inside its function.
"""

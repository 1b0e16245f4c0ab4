"""Who answers the requests: our engine, transformers, a server, or several of one kind at once."""

"""How settings are read and written, and how things are found by name. Nothing here knows what is set."""

"""ALFWorld: household tasks in text, on official or generated games, played natively or by TextWorld."""

"""What a run leaves behind and shows while it goes on: its directory, trackers, progress. No torch."""

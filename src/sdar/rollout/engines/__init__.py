"""What generates tokens behind the `Engine` protocol."""

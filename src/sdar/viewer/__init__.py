"""`sdar view`: runs as a local web page, and as a directory that opens without a server. No torch."""

"""One module per layout a retrieval data set may have on disk or on the Hub."""

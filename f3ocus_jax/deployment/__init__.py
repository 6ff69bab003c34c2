"""Run a server and its sites over an engine, by messages: f3ocus deployment flower ACTION."""

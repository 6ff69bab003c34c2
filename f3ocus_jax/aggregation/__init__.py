"""One model from the clients' updates."""

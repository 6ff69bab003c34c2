"""Writing answers token by token."""

"""Traffic, FLOPs and memory of a federation."""

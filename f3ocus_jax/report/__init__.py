"""What a run shows: records on disk, a progress display, scalars, the final table and figures."""

"""Page of a run: one self-contained HTML file made from its records, settings and final table."""

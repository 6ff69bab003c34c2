"""Records, tables, figures and the page of a run, written again by f3ocus report runs/x."""

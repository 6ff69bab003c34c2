"""Run and compare many federations: f3ocus sweep --config sweeps/demo --workdir runs/sweep."""

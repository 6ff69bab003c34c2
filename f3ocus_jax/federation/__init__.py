"""The round of F³OCUS, its stages, and a run of rounds."""

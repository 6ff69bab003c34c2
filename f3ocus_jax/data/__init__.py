"""Examples of a client, from built datasets to fixed-shape batches."""

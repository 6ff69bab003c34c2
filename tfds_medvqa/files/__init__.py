"""Images and tables of a user's own, as a dataset of hospitals."""

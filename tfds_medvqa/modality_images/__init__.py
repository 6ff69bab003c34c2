"""Six hospitals of one modality each, from folders of labelled images."""

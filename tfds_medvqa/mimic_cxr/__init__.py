"""MIMIC-CXR-JPG: chest X-rays with CheXpert labels, for credentialed users."""

"""MedVQA-FL: nine clients with one imaging modality each, from MedMNIST v2."""

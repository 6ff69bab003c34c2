"""VQA-Med 2019: ImageCLEF's questions about modality, plane, organ and abnormality."""

"""VQA-Med 2020: ImageCLEF's questions about abnormalities."""

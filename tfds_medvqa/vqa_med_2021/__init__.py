"""VQA-Med 2021: ImageCLEF's questions about abnormalities."""

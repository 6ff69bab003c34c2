"""Kvasir-VQA: questions about endoscopic images of the gastrointestinal tract."""

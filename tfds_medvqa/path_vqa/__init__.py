"""PathVQA: questions about pathology images from textbooks."""

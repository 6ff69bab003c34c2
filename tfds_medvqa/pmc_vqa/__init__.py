"""PMC-VQA: questions with four choices about figures of open-access papers."""

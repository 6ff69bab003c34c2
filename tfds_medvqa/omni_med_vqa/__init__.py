"""OmniMedVQA: multiple-choice questions over many open medical datasets."""

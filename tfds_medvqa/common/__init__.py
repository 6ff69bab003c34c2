"""Code shared by all builders: features, answers, images and source folders."""

"""What every builder shares: the feature spec and how images are encoded."""

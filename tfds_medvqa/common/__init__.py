"""What every builder shares: features, answers, images, and the user's folder."""

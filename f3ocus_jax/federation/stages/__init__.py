"""The five stages of a round: score, select, train, aggregate, evaluate."""

"""A method and a network of somebody's own, as test_players writes them against the house."""

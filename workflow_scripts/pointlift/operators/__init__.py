"""First floor: batched torch operations, each tested equal to a slow reference."""

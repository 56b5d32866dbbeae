"""Ground floor: what crosses between stages. Numpy, no torch."""

"""Room: frozen image models."""

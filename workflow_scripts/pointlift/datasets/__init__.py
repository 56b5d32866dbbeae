"""Room: where shapes come from."""

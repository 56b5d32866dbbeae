"""Room: point-cloud encoders."""

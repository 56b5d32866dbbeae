"""Room: pictures of shapes."""

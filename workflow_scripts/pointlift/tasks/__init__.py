"""Room: downstream tasks; the only place that opens a test split."""

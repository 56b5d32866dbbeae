"""Room: tables and pages."""

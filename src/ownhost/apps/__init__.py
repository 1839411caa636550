"""Programs that owners run."""

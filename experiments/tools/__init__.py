"""Commands that write no run."""

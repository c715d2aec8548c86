"""What several studies train."""

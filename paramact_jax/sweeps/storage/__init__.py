"""What a sweep keeps on disk: written whole or not at all, under the configuration that it belongs to."""

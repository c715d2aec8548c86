"""What a sweep keeps on disk: files that are whole or not there, with the configuration that they belong to."""

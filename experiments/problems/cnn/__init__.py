"""The convolutional networks of [A, section 4]."""

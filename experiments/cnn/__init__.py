"""The agile convolutional network: [A, section 4], Table 1."""

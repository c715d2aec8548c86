"""The three faults of the sigmoid that [B2] names, each measured: saturation, values of one sign, the cost of exp."""

"""A function traced for one trial, read and rewritten: JAX only, no Flax."""

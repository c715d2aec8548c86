"""XOR(10): the networks of [P, section 4.1]."""

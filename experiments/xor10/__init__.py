"""XOR(10): [P, section 4.1], Tables 3, 4 and 5."""

"""How large the initial weights have to be for a network to learn at all [R]."""

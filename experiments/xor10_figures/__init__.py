"""One trial of XOR(10) looked into: [P, Figs. 7 to 10]."""

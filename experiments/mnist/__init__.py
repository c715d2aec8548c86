"""MNIST with 8 hidden layers [P, section 4.2]: Tables 6 to 8, Figs. 12 to 14."""

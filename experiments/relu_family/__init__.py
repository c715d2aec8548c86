"""The family of ReLU on MNIST [B1]: which units die in training, which come back, and what the others do about it."""

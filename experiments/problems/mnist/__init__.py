"""The perceptrons of [P, section 4.2] on MNIST."""

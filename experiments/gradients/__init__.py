"""How the gradient at the first layer of a random network depends on its depth: a study that the papers lack."""

"""Does a better optimiser rescue the vanishing gradient, or does the activation?"""

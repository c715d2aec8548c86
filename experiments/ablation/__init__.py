"""Is it the learning of a and b, or only the initial gain?"""

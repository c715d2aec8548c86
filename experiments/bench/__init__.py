"""How fast this project trains, and other ways to train the same networks on the same cores."""

"""How fast this project trains, beside other ways to train the same networks on the same cores."""

"""What was found, in a few sentences whose numbers come from runs kept beside the code."""

"""What is done to parameters and modules as a whole."""

"""What is known of the attributions of a whole data set, gathered while they stream by."""

"""What to compute: every method, by backward passes or by forward passes alone."""

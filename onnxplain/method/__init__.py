"""What to compute: every explanation method, by backward passes or by forward passes alone."""

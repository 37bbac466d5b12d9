"""Tree ensembles read from their operators: nodes, leaves, and what each leaf asks of the features."""

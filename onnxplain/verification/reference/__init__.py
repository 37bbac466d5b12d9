"""The standard's reference evaluator, made complete and exact enough to be differenced."""

"""Where a detector's file holds boxes, scores and classes: proven by its dataflow, or told."""

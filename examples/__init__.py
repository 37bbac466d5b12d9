"""Studies and hosts. What several studies need lies here: perceptrons trained by numpy, and pages that they fill."""

"""Networks of the kinds that people deploy, with random weights, for measuring costs on what nobody tuned for."""

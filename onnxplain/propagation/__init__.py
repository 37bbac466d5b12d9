"""How a message passes a node: the backward pass, and the rule families beside gradients."""

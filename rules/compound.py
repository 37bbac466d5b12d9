"""Compound nodes: what canonization groups. Their gradient is that of their parts."""

from onnxplain import Builder, Messages, Node, Tensor, rule

OWN = "onnxplain"


@rule("Linear", role="linear", domain=OWN, weight=1, bias=2)
@rule("Activation", "Function", "Shift", role="elementwise", domain=OWN)
@rule("Softmax", "LogSoftmax", role="softmax", domain=OWN)
@rule("Neuron", role="function", domain=OWN)
@rule("Gate", "GatedUnit", "Normalize", "Attend", role="gate", domain=OWN)
def parts(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The messages that the parts' own rules send to the inputs of the whole."""
    return tuple(b.gradient(node, dy))

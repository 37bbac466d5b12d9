"""Compound nodes: what canonization groups. Their gradient is that of their parts."""

from dataclasses import replace

from onnxplain import Builder, Messages, Node, Tensor, rule

OWN = "onnxplain"


@rule("Linear", role="linear", domain=OWN, weight=1, bias=2)
@rule("Activation", "Function", "Shift", role="elementwise", domain=OWN)
@rule("Softmax", "LogSoftmax", role="softmax", domain=OWN)
@rule("Neuron", role="function", domain=OWN)
@rule("Norm", role="norm", domain=OWN)
@rule("Gate", "GatedUnit", "Normalize", "Attend", role="gate", domain=OWN)
def parts(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The messages that the parts' own rules send to the inputs of the whole."""
    return tuple(b.gradient(node, dy))


@rule("Norm", role="norm", domain=OWN, detached=True)
def detached_norm(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The gradient with the mean square held constant."""
    if node["statistics"]:
        moving = tuple(part for part in node.parts if part.name not in node["statistics"])
        return tuple(b.gradient(replace(node, parts=moving), dy))
    norm, *behind = node.parts
    after = replace(node, inputs=(norm.y,), parts=tuple(behind))
    (message,) = b.gradient(after, dy)
    assert message is not None
    return b.detached(norm, message)

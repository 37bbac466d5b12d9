"""Sequences and optionals. The message on a sequence is a sequence: one message for each of its tensors, in its shape.
The message on an optional tensor is that on the tensor."""

import numpy as np

from onnxplain import Builder, Messages, Node, RuleError, Tensor, rule


def place(b: Builder, position: Tensor | None, sequence: Tensor, last: int) -> Tensor:
    """A position counted from the front; where it is left out, `last` beyond the end."""
    length = b.SequenceLength(sequence)
    if position is None:
        return b.Add(length, last)
    position = b.cast(position, length)
    return b.Where(b.Less(position, 0), b.Add(position, length), position)


@rule("SequenceConstruct", role="layout")
def sequence_construct(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = dy[i]"""
    return tuple(b.SequenceAt(dy, i) for i in range(len(node.inputs)))


@rule("SequenceAt", role="select")
def sequence_at(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = zeros, with dy at the position"""
    zeros, at = b.zeros_like(node.x), place(b, node.input(1), node.x, -1)
    return b.SequenceInsert(b.SequenceErase(zeros, at), dy, at), None


@rule("SequenceInsert", role="layout")
def sequence_insert(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy without the element that was inserted, which goes to that element"""
    at = place(b, node.inputs[2], node.x, 0)
    return b.SequenceErase(dy, at), b.SequenceAt(dy, at), None


@rule("SequenceErase", role="select")
def sequence_erase(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy, with zeros for the element that was erased"""
    at = place(b, node.inputs[1], node.x, -1)
    return b.SequenceInsert(dy, b.zeros_like(b.SequenceAt(node.x, at)), at), None


@rule("ConcatFromSequence", role="layout")
def concat_from_sequence(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy cut where the tensors were put together"""
    axis = node["axis"]
    if node["new_axis"]:
        return b.SplitToSequence(dy, axis=axis, keepdims=0)
    end = axis + 1 or None  # the last axis, counted from the end, has none behind it
    (extents,) = b.each([node.x], lambda x: [b.Shape(x, start=axis, end=end)], [np.dtype(np.int64)])
    return b.SplitToSequence(dy, b.ConcatFromSequence(extents, axis=0), axis=axis)


@rule("SplitToSequence", role="layout")
def split_to_sequence(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = the dyᵢ put together"""
    flat = node.inputs[1] is None and not node["keepdims"]
    return b.ConcatFromSequence(dy, axis=node["axis"], new_axis=1 if flat else 0), None


@rule("SequenceMap", role="control")
def sequence_map(b: Builder, node: Node, *dy: Tensor | None) -> Messages:
    """The backward of the body on each element; other inputs, and outer tensors that it reads, get the sum over elements."""
    body = node.attributes["body"]
    wanted = [(i, t) for i, t in enumerate(node.reads) if t is not None and node.needs_input_grad(i)]
    if any(t.is_sequence for i, t in wanted if i >= len(node.inputs)):
        raise RuleError("its body reads an outer sequence that needs a gradient; hand over what it reads as an input")
    given = [(k, d) for k, d in enumerate(dy) if d is not None]
    sequences = [(i, t) for i, t in enumerate(node.inputs) if t is not None and t.is_sequence]

    def back(*formal: Tensor) -> list[Tensor]:
        values = dict(zip(body.inputs, node.inputs, strict=True))
        values.update({body.inputs[i]: f for (i, _), f in zip(sequences, formal, strict=False)})
        nodes, became = b.replay_all(body.nodes, values)
        seeds = {
            became.get(body.outputs[k], body.outputs[k]): f for (k, _), f in zip(given, formal[len(sequences) :], strict=True)
        }
        places = [values[body.inputs[i]] if i < len(body.inputs) else t for i, t in wanted]
        found = b.backpropagate(nodes, seeds, places)
        return [found[p] if p in found else b.zeros_like(p) for p in places]

    elements = [*(t for _, t in sequences), *(d for _, d in given)]
    made = b.each(elements, back, [t.dtype for _, t in wanted])
    sums = [
        m if t.is_sequence else b.ReduceSum(b.ConcatFromSequence(m, axis=0, new_axis=1), [0], keepdims=0)
        for m, (_, t) in zip(made, wanted, strict=True)
    ]
    messages = {i: m for m, (i, _) in zip(sums, wanted, strict=True)}
    return tuple(messages.get(i) for i in range(len(node.reads)))


@rule("Optional", "OptionalGetElement", role="layout")
def optional(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy"""
    return dy


@rule("SequenceEmpty", "SequenceLength", "OptionalHasElement", role="zero")
def counts(b: Builder, node: Node, dy: Tensor) -> Messages:
    """No element depends on the values of the input."""
    return (None,) * len(node.inputs)

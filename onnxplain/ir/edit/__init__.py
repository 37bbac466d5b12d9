"""Graphs as they lie in a file, read and rewritten: subgraphs, captures, names, new nodes, uses, dead nodes."""

from onnxplain.ir.edit.names import Names, names_in
from onnxplain.ir.edit.nodes import NodeWriter, alive, replace_uses, set_nodes, without_dead
from onnxplain.ir.edit.subgraphs import captures, defined, graphs_in, reads, subgraphs

__all__ = [
    "Names", "NodeWriter", "alive", "captures", "defined", "graphs_in", "names_in", "reads", "replace_uses", "set_nodes",
    "subgraphs", "without_dead",
]  # fmt: skip

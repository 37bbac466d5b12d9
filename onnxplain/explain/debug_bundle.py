"""What a report of a mistake needs: a model's structure without its weights, the versions, and what happened."""

from __future__ import annotations

import io
import json
import platform
import re
import sysconfig
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnxplain._version import __version__
from onnxplain.errors import ModelError, OnnxplainError
from onnxplain.io.reader import ModelLike, read
from onnxplain.ir.edit import graphs_in, subgraphs
from onnxplain.runtime.guarded import PACKAGE, first_line

__all__ = ["debug_bundle", "without_values"]

PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnx-graphsurgeon", "protobuf")

SMALL = 64
"""Elements up to which integers stay: shapes, axes and counts, without which nothing can be told."""

FEW = 8
"""Elements up to which any constant stays: factors, and the scales of a resize."""

INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)

STANDARD = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Domains whose operators name modes by short texts; texts of others may be anything."""

CHOICES = ("activations", "nodes_modes")
"""Attributes that name one of a few modes for each of many."""

TEXTS = ("default_string", "value_string", "pattern", "delimiter", "locale")
"""Attributes of these domains that are texts of the model's maker."""


def debug_bundle(model: ModelLike, attempt: Callable[[], Any] | None = None) -> bytes:
    """A .zip for a report: `structure.onnx`, the model with zeros for weights, and `report.json`.

    Names of tensors, nodes and functions stay, and constants of up to 8 numbers or 64 integers, which describe shapes. Weights,
    labels and vocabularies, documentation, metadata and what is for training are left out, and folders in messages. The file
    loads and can be rewritten as the model can.

    Args:
        model: a path, bytes or a ModelProto.
        attempt: what fails, to be called once; what it raises is in the report.

    Returns:
        The bytes of the archive.

    Raises:
        ModelError: there is no such file.

    Example:
        >>> from onnxplain.explain.debug_bundle import debug_bundle
        >>> len(debug_bundle("fixtures/digits/model.onnx")) < 8000
        True
    """
    if isinstance(model, str | Path) and not Path(model).is_file():
        raise ModelError(f"no file at {model}")
    report: dict[str, Any] = {
        "onnxplain": __version__, "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: found for name in PACKAGES if (found := _installed(name))},
    }  # fmt: skip
    files: dict[str, bytes] = {}
    try:
        structure = without_values(read(model).model)
    except OnnxplainError as error:
        report["reading"] = _without_folders(str(error))
    else:
        files["structure.onnx"] = structure.SerializeToString()
        report["opsets"] = {o.domain or "ai.onnx": o.version for o in structure.opset_import}
        nodes = Counter(f"{n.domain or 'ai.onnx'}.{n.op_type}" for g in graphs_in(structure.graph) for n in g.node)
        report["operators"] = dict(sorted(nodes.items()))
    if attempt is not None:
        try:
            attempt()
            report["attempt"] = "nothing failed"
        except Exception as error:
            report["attempt"] = _happened(error)
    files["report.json"] = json.dumps(report, indent=2).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with zeros for weights, written sparsely, with numbers for texts, and without documentation and metadata.

    Args:
        model: the model; its external data is not read.

    Returns:
        The copy: every tensor has its type and its extents.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _undocumented(made)
    made.ClearField("domain")
    del made.training_info[:]
    made.graph.name = "graph"
    for graph in graphs_in(made.graph):
        for sparse in graph.sparse_initializer:
            sparse.CopyFrom(_zeros(sparse.values, sparse.dims))
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.STRING:
                _blank(tensor)
        kept = [t for t in graph.initializer if _stays(t) or t.data_type == TensorProto.STRING]
        names = {t.name for t in kept}
        graph.sparse_initializer.extend(_zeros(t, t.dims) for t in graph.initializer if t.name not in names)
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for node in graph.node:
            _strip(node)
    for function in made.functions:
        for default in function.attribute_proto:
            _strip_attribute(default, STANDARD[0])
        for node in function.node:
            _strip(node)
    return made


def _undocumented(message: Any) -> None:
    """Clear what people write into a model beside its structure, wherever it is."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props", "producer_name", "producer_version"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for inner in value if isinstance(value, Sequence) else (value,):
                _undocumented(inner)


def _strip(node: onnx.NodeProto) -> None:
    """A node without the values in its attributes; nodes of functions with those of their bodies."""
    tree = node.op_type.startswith("TreeEnsemble")
    for attribute in node.attribute:
        _strip_attribute(attribute, node.domain, links=tree)
    for graph in subgraphs(node):
        for tensor in graph.initializer:
            if not _stays(tensor):
                _blank(tensor)
        for sparse in graph.sparse_initializer:
            sparse.CopyFrom(_zeros(sparse.values, sparse.dims))
        for inner in graph.node:
            _strip(inner)


def _strip_attribute(attribute: onnx.AttributeProto, domain: str, *, links: bool = False) -> None:
    """Zeros for many numbers, counts for texts and for many integers, unless these link the nodes of trees."""
    for tensor in (attribute.t, *attribute.tensors) if attribute.HasField("t") or attribute.tensors else ():
        if not _stays(tensor):
            _blank(tensor)
    sparse = (
        (attribute.sparse_tensor, *attribute.sparse_tensors) if attribute.HasField("sparse_tensor") else attribute.sparse_tensors
    )
    for each in sparse:
        each.CopyFrom(_zeros(each.values, each.dims))
    if len(attribute.floats) > FEW:
        attribute.floats[:] = [0.0] * len(attribute.floats)
    if len(attribute.ints) > SMALL and not links:
        attribute.ints[:] = range(len(attribute.ints))
    if attribute.name not in CHOICES:
        attribute.strings[:] = [b"%d" % i for i in range(len(attribute.strings))]
        if attribute.name in TEXTS or domain not in STANDARD or len(attribute.s) > SMALL:
            attribute.s = b""


def _stays(tensor: TensorProto) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return False
    count = prod(tensor.dims)
    return count <= FEW or (tensor.data_type in INTEGERS and count <= SMALL)


def _zeros(tensor: TensorProto, dims: Iterable[int]) -> onnx.SparseTensorProto:
    """Zeros in the type of a tensor and in these extents, in a few bytes."""
    made = onnx.SparseTensorProto()
    made.dims.extend(list(dims) or [1])
    made.values.name, made.values.data_type = tensor.name, tensor.data_type
    made.values.dims.append(0)
    made.indices.data_type = TensorProto.INT64
    made.indices.dims.append(0)
    return made


def _blank(tensor: TensorProto) -> None:
    """Zeros in place of a tensor's values, counts in place of texts."""
    dims, count = list(tensor.dims), prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        made = TensorProto(dims=dims, string_data=[b"%d" % i for i in range(count)])
    elif tensor.HasField("raw_data"):
        made = TensorProto(dims=dims, raw_data=bytes(len(tensor.raw_data)))
    elif tensor.data_location == TensorProto.EXTERNAL:
        made = numpy_helper.from_array(np.zeros(dims, onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)))
    else:
        made = TensorProto(dims=dims)
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            getattr(made, field).extend([0] * len(getattr(tensor, field)))
    made.name, made.data_type = tensor.name, tensor.data_type
    tensor.CopyFrom(made)


def _happened(error: Exception) -> dict[str, Any]:
    """An error with its way through the package; no paths of the machine."""
    chain: BaseException | None = error
    told: list[dict[str, Any]] = []
    while chain is not None and len(told) < 4:
        frames = traceback.extract_tb(chain.__traceback__)
        told.append(
            {
                "error": f"{type(chain).__name__}: {_without_folders(first_line(chain))}",
                "through": [f"{_place(f.filename)}:{f.lineno} {f.name}" for f in frames],
            }
        )
        chain = chain.__cause__
    return {"errors": told}


PATH = re.compile(
    r"(?<![\w.\-/\\])(?P<root>[A-Za-z]:[\\/]|~[\\/]|\.{1,2}[\\/]|[\\/](?=(?P<top>[^\\/'\":;,\s]+)))(?:[^\\/'\":;,\n]*[\\/])+"
)
"""The folders of a path, with what tells that it is one: names of tensors have slashes too."""


def _without_folders(text: str) -> str:
    """A message with the last parts of the paths in it."""

    def shorter(found: re.Match[str]) -> str:
        is_path = found["top"] is None or Path("/", found["top"]).exists()
        return "" if is_path else found[0]

    return PATH.sub(shorter, text)


def _place(filename: str) -> str:
    """A file of the package or of a library, without what lies above it; elsewhere its name alone."""
    path = Path(filename)
    above = (PACKAGE.parent, *(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")))
    return next((str(path.relative_to(folder)) for folder in above if path.is_relative_to(folder)), path.name)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

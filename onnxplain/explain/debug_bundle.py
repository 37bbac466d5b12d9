"""What a report of a mistake needs: a model's structure without its weights, the versions, and what happened."""

from __future__ import annotations

import io
import json
import platform
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

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


def debug_bundle(model: ModelLike, attempt: Callable[[], Any] | None = None) -> bytes:
    """A .zip for a report: `structure.onnx`, the model with zeros for weights, and `report.json`.

    Names of tensors, nodes and functions stay, and constants of up to 8 numbers or 64 integers, which describe shapes. Weights,
    documentation and metadata are left out. The file loads and can be rewritten as the model can.

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
        report["reading"] = str(error)
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
    """A copy with zeros for weights, written sparsely, and without documentation and metadata.

    Args:
        model: the model; its external data is not read.

    Returns:
        The copy: every tensor has its type and its extents.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.ClearField("doc_string")
    for entries in (made.metadata_props, made.graph.metadata_props):
        del entries[:]
    for graph in graphs_in(made.graph):
        graph.ClearField("doc_string")
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.STRING and not _stays(tensor):
                _blank(tensor)
        kept = [t for t in graph.initializer if _stays(t) or t.data_type == TensorProto.STRING]
        names = {t.name for t in kept}
        graph.sparse_initializer.extend(_zeros(t) for t in graph.initializer if t.name not in names)
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for node in graph.node:
            _strip(node)
    for function in made.functions:
        function.ClearField("doc_string")
        for node in function.node:
            _strip(node)
    return made


def _strip(node: onnx.NodeProto) -> None:
    """A node without documentation, metadata and the values in its attributes; nodes of functions with those of their bodies."""
    node.ClearField("doc_string")
    del node.metadata_props[:]
    for attribute in node.attribute:
        for tensor in (attribute.t, *attribute.tensors) if attribute.HasField("t") or attribute.tensors else ():
            if not _stays(tensor):
                _blank(tensor)
        if attribute.type == onnx.AttributeProto.FLOATS and len(attribute.floats) > SMALL:
            attribute.floats[:] = [0.0] * len(attribute.floats)
    for graph in subgraphs(node):
        for tensor in graph.initializer:
            if not _stays(tensor):
                _blank(tensor)
        for inner in graph.node:
            _strip(inner)


def _stays(tensor: TensorProto) -> bool:
    external = tensor.data_location == TensorProto.EXTERNAL
    count = prod(tensor.dims)
    return not external and (count <= FEW or (tensor.data_type in INTEGERS and count <= SMALL))


def _zeros(tensor: TensorProto) -> onnx.SparseTensorProto:
    """Zeros in the type and the extents of a tensor, in a few bytes."""
    made = onnx.SparseTensorProto()
    made.dims.extend(tensor.dims or [1])
    made.values.name, made.values.data_type = tensor.name, tensor.data_type
    made.values.dims.append(0)
    made.indices.data_type = TensorProto.INT64
    made.indices.dims.append(0)
    return made


def _blank(tensor: TensorProto) -> None:
    """Zeros in place of a tensor's values."""
    name, kind, dims = tensor.name, tensor.data_type, list(tensor.dims)
    kept = tensor.raw_data if tensor.HasField("raw_data") else b""
    made = TensorProto(name=name, data_type=kind, dims=dims)
    if kept:
        made.raw_data = bytes(len(kept))
    else:
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            getattr(made, field).extend([0] * len(getattr(tensor, field)))
        made.string_data.extend([b""] * len(tensor.string_data))
    tensor.CopyFrom(made)


def _happened(error: Exception) -> dict[str, Any]:
    """An error with its way through the package; no paths of the machine."""
    chain: BaseException | None = error
    told: list[dict[str, Any]] = []
    while chain is not None and len(told) < 4:
        frames = traceback.extract_tb(chain.__traceback__)
        told.append(
            {
                "error": f"{type(chain).__name__}: {first_line(chain)}",
                "through": [f"{_place(f.filename)}:{f.lineno} {f.name}" for f in frames],
            }
        )
        chain = chain.__cause__
    return {"errors": told}


def _place(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE) else "/".join(path.parts[-2:])


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

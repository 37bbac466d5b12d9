"""The operator-set policy: 18 to 21 stay, older models are raised to 18, newer ones lowered as far towards 21 as is exact."""

from __future__ import annotations

import onnx
import onnx.checker
import onnx.version_converter

from onnxplain.errors import ModelError
from onnxplain.ir.own_kernels import as_shown, only_written
from onnxplain.ir.schema import signature
from onnxplain.passes.conversion import correct_conversion, element_types, hide_old_scans, spell_out_hardmax
from onnxplain.passes.tidy import unique_names
from onnxplain.passes.weights import without_weights

__all__ = ["HIGHEST_IR", "NEWEST", "OLDEST", "normalize_opset"]

OLDEST, NEWEST = 18, 21
"""Rules are written for the operator forms of opset 18; above 21 current ONNX Runtime lacks CUDA kernels."""

OLDEST_IR, HIGHEST_IR = 8, 10
"""What opset 18 and opset 21 came with."""

FLATTENING_ENDS = 13
"""From this operator set on Hardmax and Softmax work along one axis."""

NEW_TYPES = {17: 9, 21: 10, 23: 11, 24: 12, 25: 13, 27: 14}
"""IR versions that data types came with, by number of type: 8-bit floats, 4-bit integers and floats, scales, and smaller ones."""


def normalize_opset(model: onnx.ModelProto) -> bool:
    """Bring the standard operator set to 18–21 where every node's form exists there, and the IR version to at most 10."""
    opset = next((o for o in model.opset_import if o.domain == ""), None)
    if opset is None:  # a model of other domains only
        model.opset_import.append(onnx.helper.make_opsetid("", OLDEST))
        changed = True
    elif opset.version < OLDEST:
        _raise(model, opset.version)
        changed = True
    else:
        changed = opset.version > NEWEST and _lower(model, opset.version)
    ir = _lowest_ir(model)
    changed |= ir != model.ir_version
    model.ir_version = ir
    return changed


def _lowest_ir(model: onnx.ModelProto) -> int:
    """The IR version that the operator sets and the data types of the model ask for, and no higher: hosts lag behind."""
    graph = model.graph
    kinds = {t.data_type for t in graph.initializer}
    kinds |= {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    needed = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    return int(max(needed, *(ir for first, ir in NEW_TYPES.items() if max(kinds, default=0) >= first), OLDEST_IR))


def _raise(model: onnx.ModelProto, version: int) -> None:
    # The converter drops node metadata, and what is claimed of outputs that its inference cannot reach: names bring both back.
    claimed = {o.name: o.type for o in model.graph.output if o.type.tensor_type.HasField("shape")}
    metadata = {n.name: list(n.metadata_props) for n in model.graph.node if n.metadata_props}
    with without_weights(model) as skeleton:
        skeleton.ir_version = max(skeleton.ir_version, 8)
        if version < FLATTENING_ENDS:
            spell_out_hardmax(skeleton.graph)
        types = element_types(skeleton)
        hide_old_scans(skeleton.graph, version)
        outputs = [o for o in skeleton.graph.output if not o.type.HasField("tensor_type")]
        _hide_outputs(skeleton, outputs)
        try:
            converted = onnx.version_converter.convert_version(skeleton, OLDEST)
        except Exception as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise ModelError(
                f"opset {version} cannot be raised to {OLDEST} ({reason}); export the model with opset {OLDEST} or newer"
            ) from error
        correct_conversion(converted, version, types)
        order = [o.name for o in model.graph.output]
        converted.graph.output.extend(outputs)
        ranked = sorted(converted.graph.output, key=lambda o: order.index(o.name))
        del converted.graph.output[:]
        converted.graph.output.extend(ranked)
        skeleton.CopyFrom(converted)
    for output in model.graph.output:
        if output.name in claimed and not output.type.tensor_type.HasField("shape"):
            output.type.CopyFrom(claimed[output.name])
    for node in model.graph.node:
        if not node.metadata_props:
            node.metadata_props.extend(metadata.get(node.name, []))
    unique_names(model)


def _hide_outputs(model: onnx.ModelProto, outputs: list[onnx.ValueInfoProto]) -> None:
    """The converter knows tensors only: outputs of other types leave the graph while it works."""
    names = {o.name for o in outputs}
    kept = [o for o in model.graph.output if o.name not in names]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _lower(model: onnx.ModelProto, version: int) -> bool:
    """Relabel the model as opset 21, or as the lowest above it in which every node is valid."""
    operators = {(n.op_type, n.domain) for n in as_shown(model.graph.node)}
    with without_weights(model) as skeleton:
        for lower in range(NEWEST, version):
            if all(domain or signature(op, domain, lower) for op, domain in operators) and _is_valid(skeleton, lower):
                for o in skeleton.opset_import:
                    if o.domain == "":
                        o.version = lower
                return True
    return False


def _is_valid(skeleton: onnx.ModelProto, version: int) -> bool:
    trial = onnx.ModelProto()
    trial.CopyFrom(skeleton)
    for o in trial.opset_import:
        if o.domain == "":
            o.version = version
    trial.ir_version = min(trial.ir_version, HIGHEST_IR)
    del trial.graph.value_info[:]
    only_written(trial)
    # The checker wants a shape of every output; the nodes are what matters here.
    _hide_outputs(trial, [o for o in trial.graph.output if not o.type.tensor_type.HasField("shape")])
    try:
        onnx.checker.check_model(trial, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True

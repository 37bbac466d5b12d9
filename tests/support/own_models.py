"""Test points of operators that are models of their own: recurrent, sampling, learned, of signals; and small graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.own_case import Own, OwnGraph, ints


def recurrent(name: str, op: str, given: str = "", outputs: str = "y h c", /, **attributes: Any) -> Own:
    """A recurrent node of 4 steps, 3 samples, 2 features, 3 hidden units; `given` lists optional inputs:
    bias, lens (ending early), state, peepholes.
    """
    gates, count = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if attributes.get("direction") == "bidirectional" else 1
    state = (3, count, 3) if attributes.get("layout") else (count, 3, 3)
    inputs = [(3, 4, 2) if attributes.get("layout") else (4, 3, 2), (count, gates * 3, 2), (count, gates * 3, 3)]
    optional = [("bias", (count, gates * 6)), ("lens", np.array([3, 1, 2], np.int32)), ("state", state)]
    optional += [("state", state), ("peepholes", (count, 9))] if op == "LSTM" else []
    inputs += [value if key in given.split() else None for key, value in optional]
    while inputs[-1] is None:
        inputs.pop()
    names = [n if n in outputs.split() else "" for n in ("y", "h", "c")[: 3 if op == "LSTM" else 2]]
    while not names[-1]:
        names.pop()
    return Own(name, op, inputs, {"hidden_size": 3, **attributes}, outputs=names)


RECURRENT = [
    *(
        recurrent(f"{op.lower()}_{direction}_{number}", op, given, direction=direction)
        for op in ("LSTM", "GRU", "RNN")
        for direction in ("forward", "reverse", "bidirectional")
        for number, given in enumerate(("", "bias state", "bias lens", "bias lens state peepholes"))
    ),
    *(
        recurrent(f"{op.lower()}_batch_first", op, "bias lens state", direction="bidirectional", layout=1)
        for op in ("LSTM", "GRU", "RNN")
    ),
    *(recurrent(f"lstm_only_{outputs.replace(' ', '_')}", "LSTM", "bias", outputs) for outputs in ("y", "h", "c", "y c")),
    recurrent("lstm_peepholes", "LSTM", "bias peepholes"),
    recurrent("lstm_coupled", "LSTM", "bias state", input_forget=1),
    recurrent("lstm_coupled_peepholes", "LSTM", "lens state peepholes", input_forget=1, direction="reverse"),
    recurrent("lstm_clip", "LSTM", "bias state peepholes", clip=0.7),
    recurrent("gru_only_y", "GRU", "bias", "y"),
    recurrent("gru_late", "GRU", "bias state", linear_before_reset=1),
    recurrent("gru_late_no_bias", "GRU", "", linear_before_reset=1),
    recurrent("gru_late_ended", "GRU", "bias lens state", linear_before_reset=1, direction="bidirectional"),
    recurrent("gru_clip", "GRU", "bias state", clip=0.7),
    recurrent("gru_late_clip", "GRU", "bias state", clip=0.7, linear_before_reset=1),
    recurrent("rnn_only_y", "RNN", "bias", "y"),
    recurrent("rnn_clip", "RNN", "bias state", clip=0.7),
    *(
        recurrent(f"rnn_{name.lower()}", "RNN", "bias", activations=[name], **numbers)
        for name, numbers in {
            **{n: {} for n in ("Sigmoid", "Relu", "Softsign", "Softplus", "Elu", "LeakyRelu", "HardSigmoid")},
            "ThresholdedRelu": {"activation_alpha": [0.1]},
            "Affine": {"activation_alpha": [0.6], "activation_beta": [0.3]},
            "ScaledTanh": {"activation_alpha": [1.7], "activation_beta": [0.6]},
        }.items()
    ),
    recurrent(
        "lstm_activations",
        "LSTM",
        "bias",
        activations=["HardSigmoid", "ScaledTanh", "Affine"],
        activation_alpha=[0.3, 0.8, 0.9],
        activation_beta=[0.4, 0.7, 0.1],
    ),
    recurrent(
        "gru_activations",
        "GRU",
        "bias",
        direction="bidirectional",
        activations=["Sigmoid", "Elu", "HardSigmoid", "Softsign"],
        activation_alpha=[0.4, 0.3],
    ),
]

GRAPHS = [
    OwnGraph("max_of_itself", "(float[3,4] x) => (float[3,4] y) { y = Max(x, x, x) }"),
    OwnGraph("min_of_itself", "(float[3,4] x) => (float[3,4] y) { y = Min(x, x) }"),
    OwnGraph("product_with_itself", "(float[3,4] x) => (float[3,4] y) { y = Mul(x, x) }"),
    OwnGraph(
        "reduce_max_of_ties",
        "(float[3,4] x) => (float[6,1] y) { d = Concat<axis=0>(x, x) e = Concat<axis=1>(d, d)"
        " a = Constant<value_ints=[1]>() y = ReduceMax(e, a) }",
    ),
    OwnGraph("cast_there_and_back", "(float[3,4] x) => (float[3,4] y) { d = Cast<to=11>(x) s = Mul(d, d) y = Cast<to=1>(s) }"),
    OwnGraph("through_integers", "(float[3,4] x) => (float[3,4] y) { i = Cast<to=7>(x) f = Cast<to=1>(i) y = Add(f, x) }"),
    OwnGraph("step_times_x", "(float[3,4] x) => (float[3,4] y) { f = Floor(x) s = Sign(x) t = Mul(f, s) y = Mul(t, x) }"),
    OwnGraph("dropout_inference", "(float[3,4] x) => (float[3,4] y) { d = Dropout(x) e = Exp(d) y = Identity(e) }"),
    OwnGraph(
        "masked_rows",
        "(float[3,4] x, float[4,2] v) => (float[3,2] y) { i = Constant<value_floats=[-inf, 0.0, 1.0]>()"
        " a = Constant<value_ints=[1]>() c = Unsqueeze(i, a) s = Add(x, c) p = Softmax(s) n = IsNaN(p)"
        " z = Constant<value_float=0.0>() w = Where(n, z, p) y = MatMul(w, v) }",
    ),
]

BOXES = np.array([[1.3, 0.7, 5.2, 4.1], [-2.2, 1.4, 9.3, 3.6], [2.1, 3.3, 2.6, 3.7], [0.2, 0.3, 6.4, 6.2]])
REGIONS = np.array([[0.2, 1.3, 0.7, 5.2, 4.1], [1.2, 0.2, 1.4, 9.3, 3.6], [1.2, 2.1, 3.3, 2.6, 3.7], [0.2, 5.3, 6.2, 1.2, 2.3]])
BATCH = np.array([0, 1, 1, 0])

SAMPLING = [
    *(
        Own(
            f"grid_sample_{mode}_{padding}_{aligned}",
            "GridSample",
            [(2, 3, 5, 4), (2, 3, 6, 2)],
            {"mode": mode, "padding_mode": padding, "align_corners": aligned},
            opset=20,
        )
        for mode in ("nearest", "linear", "cubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    *(
        Own(
            f"grid_sample_3d_{mode}_{padding}_{aligned}",
            "GridSample",
            [(2, 3, 4, 5, 3), (2, 2, 3, 4, 3)],
            {"mode": mode, "padding_mode": padding, "align_corners": aligned},
            opset=20,
        )
        for mode in ("nearest", "linear")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    Own("grid_sample_bilinear", "GridSample", [(1, 2, 5, 4), (1, 3, 2, 2)], {"mode": "bilinear"}, opset=16),
    Own("grid_sample_bicubic", "GridSample", [(1, 2, 5, 4), (1, 3, 2, 2)], {"mode": "bicubic", "align_corners": 1}, opset=16),
    Own("grid_sample_thin", "GridSample", [(1, 2, 1, 4), (1, 3, 2, 2)], {"padding_mode": "reflection", "align_corners": 1}),
    *(
        Own(
            f"roi_align_{mode}_{how}_{ratio}",
            "RoiAlign",
            [(2, 3, 7, 8), BOXES, BATCH],
            {
                "mode": mode,
                "coordinate_transformation_mode": how,
                "sampling_ratio": ratio,
                "output_height": 3,
                "output_width": 2,
                "spatial_scale": 0.9,
            },
            opset=16,
        )
        for mode in ("avg", "max")
        for how in ("half_pixel", "output_half_pixel")
        for ratio in (0, 1, 3)
    ),
    Own("max_roi_pool", "MaxRoiPool", [(2, 3, 7, 8), REGIONS], {"pooled_shape": [3, 2]}),
    Own("max_roi_pool_scaled", "MaxRoiPool", [(2, 3, 7, 8), REGIONS], {"pooled_shape": [2, 4], "spatial_scale": 0.6}),
    Own(
        "deform_conv",
        "DeformConv",
        [(2, 4, 6, 5), (6, 2, 3, 2), (2, 24, 3, 4), (6,), (2, 12, 3, 4)],
        {"kernel_shape": [3, 2], "group": 2, "offset_group": 2, "strides": [2, 1], "pads": [1, 0, 1, 0]},
        opset=19,
    ),
    Own(
        "deform_conv_plain",
        "DeformConv",
        [(2, 3, 6, 5), (4, 3, 2, 2), (2, 8, 4, 4)],
        {"kernel_shape": [2, 2], "dilations": [2, 1]},
        opset=19,
    ),
    Own(
        "deform_conv_3d",
        "DeformConv",
        [(1, 2, 3, 4, 3), (2, 2, 2, 2, 1), (1, 12, 2, 3, 3), (2,)],
        {"kernel_shape": [2, 2, 1]},
        opset=19,
    ),
]

ML = "ai.onnx.ml"
SVM = {"support_vectors": [0.3, -0.2, 0.5, 1.1, 0.4, -0.7, -0.9, 0.8, 0.1, 0.2, 0.6, -0.3], "kernel_params": [0.5, 0.1, 3.0]}
SVM3 = {
    **SVM,
    "coefficients": [0.7, -0.4, 0.3, 0.6, -0.5, 0.2, 0.9, -0.8],
    "rho": [0.1, -0.2, 0.3],
    "vectors_per_class": [1, 2, 1],
}
SVM2 = {**SVM, "coefficients": [0.7, -0.4, 0.3, 0.6], "rho": [0.1], "vectors_per_class": [2, 2]}
LINEAR3 = {"coefficients": [0.7, -0.4, 0.3, 0.6, -0.5, 0.2, 0.9, -0.8, 0.1], "intercepts": [0.5, 0.2, 0.4]}
LINEAR1 = {"coefficients": [0.7, -0.4, 0.3], "intercepts": [0.5]}
PROBABILITIES = np.array([[0.1, 0.2, 0.05], [-0.1, 0.15, 0.02]])


def classifier(name: str, op: str, classes: int, x: Any = (4, 3), /, **attributes: Any) -> Own:
    """A classifier of ai.onnx.ml, of which only the scores are asked for."""
    labels = list(range(classes))
    return Own(name, op, [x], {"classlabels_ints": labels, **attributes}, domain=ML, outputs=["label", "z"])


LEARNED = [
    Own("scaler", "Scaler", [(4, 3)], {"scale": [0.5, 2.0, 3.0], "offset": [1.0, 0.0, -1.0]}, domain=ML),
    Own("imputer", "Imputer", [(4, 3)], {"imputed_value_floats": [7.0, 8.0, 9.0], "replaced_value_float": 1.0}, domain=ML),
    Own(
        "imputer_nan",
        "Imputer",
        [np.array([[1.0, np.nan, 0.5], [np.nan, 1.0, 1.0]])],
        {"imputed_value_floats": [7.0], "replaced_value_float": np.nan},
        domain=ML,
    ),
    Own("feature_vectorizer", "FeatureVectorizer", [(4, 3), (4, 2), (4, 1)], {"inputdimensions": [2, 4, 1]}, domain=ML),
    Own("array_feature_extractor", "ArrayFeatureExtractor", [(4, 5), np.array([[2, 0, 2]])], domain=ML),
    Own("array_feature_extractor_vector", "ArrayFeatureExtractor", [(5,), ints(1, 4)], domain=ML),
    Own("linear_regressor", "LinearRegressor", [(4, 3)], LINEAR1, domain=ML),
    Own("linear_regressor_targets", "LinearRegressor", [(4, 3)], {**LINEAR3, "targets": 3}, domain=ML),
    *(
        classifier(f"linear_classifier_{how.lower()}", "LinearClassifier", 3, **LINEAR3, post_transform=how)
        for how in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
    ),
    classifier("linear_classifier_probit", "LinearClassifier", 3, PROBABILITIES, **LINEAR3, post_transform="PROBIT"),
    *(
        classifier(f"linear_classifier_binary_{how.lower()}", "LinearClassifier", 2, **LINEAR1, post_transform=how)
        for how in ("NONE", "LOGISTIC")
    ),
    *(
        Own(
            f"svm_regressor_{kind.lower()}",
            "SVMRegressor",
            [(4, 3)],
            {**SVM, "coefficients": [0.7, -0.4, 0.3, 0.6], "rho": [0.2], "n_supports": 4, "kernel_type": kind},
            domain=ML,
        )
        for kind in ("LINEAR", "POLY", "RBF", "SIGMOID")
    ),
    Own("svm_regressor_plain", "SVMRegressor", [(4, 3)], {**SVM, "coefficients": [0.7, -0.4, 0.3], "rho": [0.2]}, domain=ML),
    *(
        classifier(f"svm_classifier_{kind.lower()}", "SVMClassifier", 3, **SVM3, kernel_type=kind)
        for kind in ("LINEAR", "POLY", "RBF", "SIGMOID")
    ),
    *(
        classifier(f"svm_classifier_{how.lower()}", "SVMClassifier", 3, **SVM3, kernel_type="RBF", post_transform=how)
        for how in ("LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
    ),
    *(
        classifier(f"svm_classifier_binary_{how.lower()}", "SVMClassifier", 2, **SVM2, kernel_type="RBF", post_transform=how)
        for how in ("NONE", "LOGISTIC")
    ),
    classifier("svm_classifier_plain", "SVMClassifier", 3, **{**SVM, "coefficients": LINEAR3["coefficients"], "rho": [0.1]}),
    classifier("svm_classifier_probability_2", "SVMClassifier", 2, **SVM2, kernel_type="RBF", prob_a=[-1.5], prob_b=[0.1]),
    classifier(
        "svm_classifier_probability_3",
        "SVMClassifier",
        3,
        **SVM3,
        kernel_type="RBF",
        prob_a=[-1.5, -0.8, -1.1],
        prob_b=[0.1, 0.2, -0.1],
    ),
]

SIGNAL = [
    *(
        Own(f"dft_{version}_{name}", "DFT", [shape, length], {**options, **({"axis": 1} if version == 17 else {})}, opset=version)
        for version in (17, 20)
        for name, shape, length, options in [
            ("real", (2, 7, 1), None, {}),
            ("complex", (2, 6, 2), None, {}),
            ("half", (2, 7, 1), None, {"onesided": 1}),
            ("half_even", (2, 8, 1), np.array(8), {"onesided": 1}),
            ("longer", (2, 5, 2), np.array(8), {}),
            ("longer_half", (2, 5, 1), np.array(9), {"onesided": 1}),
            ("shorter", (2, 7, 2), np.array(4), {}),
            ("inverse", (2, 6, 2), None, {"inverse": 1}),
            ("inverse_longer", (2, 5, 2), np.array(8), {"inverse": 1}),
        ]
    ),
    Own("dft_axis", "DFT", [(3, 4, 5, 2), None, np.array(-3)], opset=20),
    Own("stft", "STFT", [(2, 20, 1), np.array(4), (6,), np.array(6)], opset=17),
    Own("stft_both_sides", "STFT", [(2, 20, 1), np.array(3), (7,)], {"onesided": 0}, opset=17),
    Own("stft_no_window", "STFT", [(1, 16, 1), np.array(4), None, np.array(8)], opset=17),
    Own("stft_complex", "STFT", [(1, 16, 2), np.array(4), (8,), np.array(8)], {"onesided": 0}, opset=17),
]

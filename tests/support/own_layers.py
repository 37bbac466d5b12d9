"""Test points of layers: one row a form that ONNX has no backend case for."""

from __future__ import annotations

import numpy as np

from tests.support.own_case import Own, ints, positive

FAR = np.array([-1000.0, -100.0, -30.0, -10.0, 10.0, 30.0, 100.0, 1000.0])

ZEROS = np.array([[1.5, 0.0, -2.0, 0.5], [0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 0.0, 1.0], [1.0, -1.2, 0.7, 0.0], [1.5, 0.3, 2.0, 1.1]])

ELEMENTWISE = [
    Own("pow_exponents", "Pow", [positive((2, 3)), (3,)]),
    Own("pow_square", "Pow", [(2, 3), ints(2)]),
    Own("pow_integers", "Pow", [(2, 4), ints(0, 1, 3, -2)]),
    Own("pow_at_zero", "Pow", [np.zeros((2, 4)), ints(0, 1, 2, 3)], exact=True),
    Own("sum_broadcast", "Sum", [(2, 3), (3,), (2, 1), ()]),
    Own("mean_broadcast", "Mean", [(2, 3), (3,), (2, 1)]),
    Own("max_broadcast", "Max", [(2, 3), (3,), (2, 1)]),
    Own("min_broadcast", "Min", [(2, 3), (3,), (2, 1), ()]),
    Own("where_broadcast", "Where", [np.array([[True], [False]]), (3,), (4, 1, 1)]),
    Own("clip_low", "Clip", [(4, 5), np.array(-0.5)]),
    Own("clip_high", "Clip", [(4, 5), None, np.array(0.5)]),
    Own("clip_crossed", "Clip", [(4, 5), np.array(0.5), np.array(-0.5)]),
    Own("cosh_small", "Cosh", [np.array([1e-3, -1e-2, 0.1])], exact=True),
    *(Own(f"{op.lower()}_far", op, [FAR]) for op in ("Sigmoid", "Tanh", "Erf", "Asinh", "Atan")),
]

SELF_CONTAINED = [
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Shrink", "HardSigmoid", "HardSwish"),
    *("Softplus", "Softsign", "Mish", "Softmax", "LogSoftmax"),
]

ACTIVATION = [
    *(Own(f"{op.lower()}_far", op, [FAR], opset=18) for op in SELF_CONTAINED),
    *(Own(f"gelu_{how}_far", "Gelu", [FAR], {"approximate": how}) for how in ("none", "tanh")),
    Own("swish_far", "Swish", [FAR], {"alpha": 1.5}, opset=24),
    Own("prelu_far", "PRelu", [FAR, (1,)]),
    Own("prelu_channels", "PRelu", [(2, 3, 4), (3, 1)]),
    Own("elu_alpha", "Elu", [(3, 4)], {"alpha": 0.3}),
    Own("celu_alpha", "Celu", [(3, 4)], {"alpha": 2.5}),
    Own("shrink_bias", "Shrink", [(3, 4)], {"lambd": 0.4, "bias": 0.2}),
    Own("softmax_first_axis", "Softmax", [(3, 4, 2)], {"axis": 0}),
    Own("log_softmax_middle_axis", "LogSoftmax", [(3, 4, 2)], {"axis": 1}),
]

LINEAR = [
    Own("matmul_vector_matrix", "MatMul", [(4,), (4, 3)]),
    Own("matmul_matrix_vector", "MatMul", [(3, 4), (4,)]),
    Own("matmul_vectors", "MatMul", [(4,), (4,)]),
    Own("matmul_vector_batch", "MatMul", [(4,), (2, 4, 3)]),
    Own("matmul_batch_vector", "MatMul", [(2, 3, 4), (4,)]),
    Own("matmul_batches_broadcast", "MatMul", [(2, 1, 3, 4), (5, 4, 2)]),
    Own("matmul_matrix_batch", "MatMul", [(3, 4), (2, 4, 5)]),
    Own("gemm_all", "Gemm", [(4, 3), (5, 4), (5,)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    Own("gemm_a", "Gemm", [(4, 3), (4, 5), (3, 1)], {"transA": 1, "alpha": 0.5, "beta": 0.5}),
    Own("gemm_b", "Gemm", [(3, 4), (5, 4), ()], {"transB": 1}),
    Own("gemm_plain", "Gemm", [(3, 4), (4, 5)], {"alpha": -2.0}),
    Own("conv_1d", "Conv", [(2, 3, 11), (4, 3, 3), (4,)], {"strides": [3], "pads": [1, 2], "dilations": [2]}),
    Own("conv_1d_no_kernel_shape", "Conv", [(2, 3, 12), (4, 3, 3)], {"strides": [2]}),
    Own("conv_2d_same_upper", "Conv", [(1, 2, 7, 6), (3, 2, 3, 2)], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    Own("conv_2d_same_lower", "Conv", [(1, 2, 7, 6), (3, 2, 3, 2), (3,)], {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    Own("conv_2d_valid", "Conv", [(1, 2, 8, 7), (3, 2, 3, 2)], {"auto_pad": "VALID", "strides": [2, 2]}),
    Own("conv_2d_flipped", "Conv", [(2, 16, 6, 5), (3, 16, 3, 3), (3,)], {"pads": [1, 0, 2, 1]}),
    Own("conv_2d_groups", "Conv", [(2, 4, 6, 7), (6, 2, 3, 3)], {"group": 2, "strides": [2, 1], "pads": [1, 1, 1, 1]}),
    Own("conv_2d_groups_flipped", "Conv", [(2, 16, 5, 5), (6, 8, 3, 3), (6,)], {"group": 2, "dilations": [2, 1]}),
    Own("conv_2d_depthwise", "Conv", [(2, 3, 6, 6), (3, 1, 3, 3), (3,)], {"group": 3, "pads": [1, 1, 1, 1]}),
    Own(
        "conv_2d_depthwise_stride",
        "Conv",
        [(2, 3, 7, 6), (3, 1, 3, 3)],
        {"group": 3, "strides": [2, 2], "pads": [1] * 4},
    ),
    Own("conv_2d_depth_multiplier", "Conv", [(2, 2, 6, 6), (4, 1, 3, 3)], {"group": 2}),
    Own("conv_2d_pads_beyond_kernel", "Conv", [(1, 16, 4, 4), (2, 16, 1, 1)], {"pads": [1, 0, 2, 1]}),
    Own("conv_2d_stride_beyond_kernel", "Conv", [(1, 2, 9, 8), (3, 2, 1, 2)], {"strides": [3, 4]}),
    Own("conv_3d", "Conv", [(1, 2, 5, 4, 6), (3, 2, 2, 1, 3), (3,)], {"strides": [2, 1, 2], "pads": [1, 0, 1, 0, 0, 1]}),
    Own("conv_transpose_1d", "ConvTranspose", [(2, 3, 5), (3, 2, 3), (2,)], {"strides": [2], "output_padding": [1]}),
    Own(
        "conv_transpose_uneven_pads",
        "ConvTranspose",
        [(1, 2, 3, 4), (2, 3, 3, 3)],
        {"strides": [2, 2], "pads": [1, 0, 0, 1]},
    ),
    Own("conv_transpose_groups", "ConvTranspose", [(2, 4, 3, 3), (4, 3, 2, 3), (6,)], {"group": 2, "strides": [2, 1]}),
    Own(
        "conv_transpose_dilated",
        "ConvTranspose",
        [(1, 2, 3, 3), (2, 2, 2, 2)],
        {"dilations": [3, 2], "output_padding": [2, 1]},
    ),
    Own(
        "conv_transpose_shape",
        "ConvTranspose",
        [(1, 2, 3, 3), (2, 2, 3, 3)],
        {"strides": [2, 2], "output_shape": [6, 5]},
    ),
    Own(
        "conv_transpose_more",
        "ConvTranspose",
        [(1, 2, 3, 3), (2, 2, 2, 2)],
        {"strides": [3, 2], "output_shape": [10, 8]},
    ),
    Own(
        "conv_transpose_same",
        "ConvTranspose",
        [(1, 2, 3, 4), (2, 2, 3, 3)],
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ),
    Own(
        "conv_transpose_lower",
        "ConvTranspose",
        [(1, 2, 3, 4), (2, 2, 4, 3)],
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ),
    Own("einsum_attention", "Einsum", [(2, 3, 4, 5), (2, 3, 6, 5)], {"equation": "bhqd,bhkd->bhqk"}),
    Own("einsum_ellipsis", "Einsum", [(2, 1, 3, 4), (5, 4, 2)], {"equation": "...ij,...jk->...ik"}),
    Own("einsum_stretched", "Einsum", [(2, 1, 3, 4), (2, 5, 4, 2)], {"equation": "...ij,...jk->...ik"}),
    Own("einsum_implicit", "Einsum", [(3, 4), (4, 5)], {"equation": "ij,jk"}),
    Own("einsum_diagonal", "Einsum", [(3, 3)], {"equation": "ii->i"}),
    Own("einsum_trace", "Einsum", [(2, 3, 3), (2,)], {"equation": "bii,b->b"}),
    Own("einsum_total", "Einsum", [(3, 4)], {"equation": "ij->"}),
    Own("einsum_alone", "Einsum", [(3, 4), (5,)], {"equation": "ij, k -> ik"}),
    Own("einsum_three", "Einsum", [(2, 3), (3, 4), (4, 5)], {"equation": "ij,jk,kl->il"}),
    Own("einsum_same_twice", "Einsum", [(3, 4), (3, 4)], {"equation": "ij,ij->i"}),
]

POOLING = [
    Own("average_1d_ceil", "AveragePool", [(2, 3, 8)], {"kernel_shape": [3], "strides": [3], "ceil_mode": 1}),
    Own(
        "average_include",
        "AveragePool",
        [(1, 2, 5, 6)],
        {"kernel_shape": [3, 2], "pads": [1] * 4, "count_include_pad": 1},
    ),
    Own(
        "average_exclude",
        "AveragePool",
        [(1, 2, 5, 6)],
        {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1], "strides": [2, 1]},
    ),
    Own("average_dilated", "AveragePool", [(1, 2, 7, 7)], {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1] * 4}),
    Own(
        "average_same",
        "AveragePool",
        [(1, 2, 6, 7)],
        {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ),
    Own(
        "average_lower",
        "AveragePool",
        [(1, 2, 6, 7)],
        {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ),
    Own("average_3d", "AveragePool", [(1, 2, 4, 5, 6)], {"kernel_shape": [2, 2, 3], "strides": [2, 1, 3]}),
    Own(
        "average_ceil_include",
        "AveragePool",
        [(1, 2, 6, 7)],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1, "count_include_pad": 1},
    ),
    Own("lp_1", "LpPool", [(1, 2, 5, 6)], {"kernel_shape": [3, 2], "p": 1, "pads": [1, 0, 1, 1]}),
    Own("lp_2", "LpPool", [(1, 2, 5, 6)], {"kernel_shape": [3, 2], "strides": [2, 2]}),
    Own("lp_3", "LpPool", [(1, 2, 7, 6)], {"kernel_shape": [3, 2], "p": 3, "dilations": [2, 1]}),
    Own("max_1d", "MaxPool", [(2, 3, 9)], {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
    Own("max_stride_1", "MaxPool", [(2, 3, 6, 5)], {"kernel_shape": [3, 3], "pads": [1] * 4}),
    Own("max_ceil", "MaxPool", [(2, 3, 7, 8)], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Own("max_dilated", "MaxPool", [(1, 2, 8, 9)], {"kernel_shape": [2, 3], "dilations": [3, 2], "strides": [2, 1]}),
    Own("max_same", "MaxPool", [(1, 2, 7, 6)], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    Own("max_columns", "MaxPool", [(2, 2, 5, 6)], {"kernel_shape": [2, 2], "storage_order": 1}, outputs=["y", "at"]),
    Own("max_3d", "MaxPool", [(1, 2, 4, 5, 6)], {"kernel_shape": [2, 2, 3], "strides": [2, 1, 3]}),
    Own(
        "unpool_1d",
        "MaxUnpool",
        [(1, 2, 3), np.array([[[1, 3, 4], [6, 9, 11]]])],
        {"kernel_shape": [2], "strides": [2]},
    ),
    Own("global_average_1d", "GlobalAveragePool", [(2, 3, 7)]),
    Own("global_average_3d", "GlobalAveragePool", [(2, 3, 2, 4, 3)]),
    Own("global_max_1d", "GlobalMaxPool", [(2, 3, 7)]),
    Own("global_max_3d", "GlobalMaxPool", [(2, 3, 2, 4, 3)]),
    Own("global_lp_2", "GlobalLpPool", [(2, 3, 4, 5)]),
    Own("global_lp_3", "GlobalLpPool", [(2, 3, 4, 5)], {"p": 3}),
]

LAYOUT = [
    Own("concat_one", "Concat", [(2, 3)], {"axis": 1}),
    Own("concat_last", "Concat", [(2, 3), (2, 1), (2, 4)], {"axis": -1}),
    Own("split_unused", "Split", [(7, 2), ints(2, 1, 4)], {"axis": 0}, outputs=["a", "", "c"]),
    Own("split_uneven", "Split", [(2, 7)], {"axis": -1, "num_outputs": 3}, outputs=["a", "b", "c"]),
    Own("slice_steps", "Slice", [(9, 8, 7), ints(1, -2, 6), ints(8, -20, -99), ints(0, 1, -1), ints(3, -2, -1)]),
    Own("slice_empty", "Slice", [(5, 4), ints(3), ints(3), ints(0)]),
    Own("slice_middle", "Slice", [(5, 6), ints(1, -3), ints(-1, 99)]),
    Own("slice_step", "Slice", [(5, 6), ints(1), ints(6), ints(1), ints(2)]),
    Own("pad_constant_value", "Pad", [(3, 4), ints(1, 0, 2, 3), np.array(1.5)]),
    Own("pad_axes", "Pad", [(3, 4, 2), ints(1, 2, 0, 3), None, ints(-1, 0)]),
    Own("pad_negative", "Pad", [(5, 6), ints(-1, 2, 1, -3), np.array(0.5)]),
    Own("pad_reflect", "Pad", [(4, 5), ints(2, 0, 3, 1)], {"mode": "reflect"}),
    Own("pad_edge", "Pad", [(4, 5), ints(2, 0, 3, 1)], {"mode": "edge"}),
    Own("pad_wrap", "Pad", [(4, 5), ints(2, 0, 3, 1)], {"mode": "wrap"}),
    Own("pad_reflect_axes", "Pad", [(4, 5, 3), ints(1, 2), None, ints(1)], {"mode": "reflect"}),
    Own("tile", "Tile", [(2, 3, 2), ints(2, 1, 3)]),
    Own("trilu", "Trilu", [(2, 3, 4)]),
    Own("trilu_lower", "Trilu", [(4, 3), np.array(-1)], {"upper": 0}),
    Own("reverse_sequence", "ReverseSequence", [(4, 3, 2), ints(4, 2, 3)], {"time_axis": 0, "batch_axis": 1}),
    Own("depth_to_space_crd", "DepthToSpace", [(2, 8, 3, 2)], {"blocksize": 2, "mode": "CRD"}),
    Own("flatten", "Flatten", [(2, 3, 4)], {"axis": -1}),
    Own("expand", "Expand", [(3, 1), ints(2, 1, 4)]),
    Own("range", "Range", [np.array(0.5), np.array(3.1), np.array(0.5)]),
    Own("reshape_zero", "Reshape", [(2, 3, 4), ints(0, -1)]),
    Own("center_crop_pad", "CenterCropPad", [(5, 4, 3), ints(2, 7)], {"axes": [0, 1]}, opset=18),
]

INDEXING = [
    Own("gather_scalar", "Gather", [(4, 3, 2), np.array(-2)], {"axis": 1}),
    Own("gather_first", "Gather", [(4, 3, 2), np.array(1)], {"axis": 1}),
    Own("gather_one", "Gather", [(4, 3, 2), ints(-1)], {"axis": 2}),
    Own("gather_distinct", "Gather", [(4, 5), ints(3, 0, -3)], {"axis": 1}),
    Own("gather_again", "Gather", [(4, 5), ints(3, 0, -1, 3)], {"axis": 0}),
    Own("gather_table", "Gather", [(6, 3), np.array([[1, 2, 1], [5, -1, 0]])]),
    Own("gather_middle", "Gather", [(2, 4, 3), np.array([[1, 2], [-1, 1]])], {"axis": -2}),
    Own("gather_elements_again", "GatherElements", [(3, 4), np.array([[0, 1, 0], [3, -1, -1], [2, 2, 2]])], {"axis": 1}),
    Own("gather_nd", "GatherND", [(3, 4, 2), np.array([[0, 1], [2, -1], [0, 1]])]),
    Own("gather_nd_batch", "GatherND", [(2, 3, 4, 2), np.array([[[0], [1], [1]], [[3], [-1], [3]]])], {"batch_dims": 2}),
    Own("compress_flat", "Compress", [(3, 4), np.array([True, False, True, True, False])]),
    Own("compress_axis", "Compress", [(3, 4, 2), np.array([False, True, True])], {"axis": -2}),
    Own("top_k", "TopK", [(3, 6), ints(2)], {"axis": 1, "largest": 0}, outputs=["y", "at"]),
    Own("one_hot", "OneHot", [np.array([[1, 0], [-1, 2]]), np.array(3), (2,)], {"axis": 0}),
    *(
        Own(f"scatter_elements_{how}", "ScatterElements", [data, where, values], {"axis": 1, "reduction": how}, opset=18)
        for data, where, values in [((3, 4), np.array([[0, 2], [1, 3], [-1, 0]]), (3, 2))]
        for how in ("none", "add", "mul", "max", "min")
    ),
    *(
        Own(
            f"scatter_elements_again_{how}",
            "ScatterElements",
            [(2, 4), np.array([[0, 0, 2, 0], [1, -1, 3, 3]]), (2, 4)],
            options,
        )
        for how in ("add", "mul", "max", "min")
        for options in [{"axis": 1, "reduction": how}]
    ),
    *(
        Own(f"scatter_nd_{how}", "ScatterND", [(3, 4), np.array([[0, 2], [1, 3], [-1, 0]]), (3,)], {"reduction": how})
        for how in ("none", "add", "mul", "max", "min")
    ),
    *(
        Own(f"scatter_nd_again_{how}", "ScatterND", [(4, 3), np.array([[0], [2], [0]]), (3, 3)], {"reduction": how})
        for how in ("add", "mul", "max", "min")
    ),
]

IMAGE = [
    Own("resize_1d", "Resize", [(2, 3, 5), None, None, ints(2, 3, 8)], {"mode": "linear"}),
    Own("resize_floor", "Resize", [(1, 2, 4, 5), None, np.array([1.0, 1.0, 1.5, 2.3], np.float32)]),
    Own("resize_nearest", "Resize", [(1, 2, 3, 4), None, np.array([2.0, 2.0], np.float32)], {"axes": [2, 3]}),
    Own(
        "resize_bilinear",
        "Resize",
        [(1, 2, 4, 3), None, None, ints(7, 5)],
        {"mode": "linear", "axes": [2, 3], "coordinate_transformation_mode": "align_corners"},
    ),
    Own(
        "resize_bicubic",
        "Resize",
        [(1, 2, 4, 6), None, None, ints(1, 2, 7, 4)],
        {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel", "cubic_coeff_a": -0.5},
    ),
    Own("resize_antialias", "Resize", [(1, 2, 8, 6), None, None, ints(1, 2, 3, 4)], {"mode": "linear", "antialias": 1}),
    Own(
        "resize_kept_aspect",
        "Resize",
        [(1, 1, 4, 7), None, None, ints(6, 8)],
        {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
    ),
]

REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]

REDUCTION = [
    *(
        Own(f"reduce_{op.lower()}_{name}", f"Reduce{op}", [positive((2, 3, 4)), *axes], options, opset=18)
        for op in REDUCTIONS
        for name, axes, options in [
            ("all", [], {}),
            ("all_dropped", [], {"keepdims": 0}),
            ("two", [ints(-1, 0)], {"keepdims": 0}),
            ("kept", [ints(1)], {"keepdims": 1}),
            ("empty_axes", [ints()], {"keepdims": 0}),
        ]
    ),
    *(
        Own(
            f"reduce_{op.lower()}_{name}",
            f"Reduce{op}",
            [positive((2, 3)), *axes],
            {"noop_with_empty_axes": 1},
            opset=18,
        )
        for op in REDUCTIONS
        for name, axes in [("none", []), ("none_empty", [ints()])]
    ),
    Own("reduce_prod_zeros", "ReduceProd", [ZEROS, ints(1)], opset=18, exact=True),
    *(
        Own(f"cum{op.lower()}_{exclusive}{reverse}", f"Cum{op}", [x, np.array(1)], options, opset=26, exact=True)
        for op in ("Sum", "Prod")
        for exclusive in (0, 1)
        for reverse in (0, 1)
        for x, options in [(ZEROS, {"exclusive": exclusive, "reverse": reverse})]
    ),
]

NORMALIZATION = [
    Own("batch_norm_flat", "BatchNormalization", [(5, 3), (3,), (3,), (3,), positive((3,))]),
    Own("batch_norm_3d", "BatchNormalization", [(2, 3, 2, 3, 2), (3,), (3,), (3,), positive((3,))], {"epsilon": 0.1}),
    Own("layer_norm_statistics", "LayerNormalization", [(2, 3, 4), (4,), (4,)], outputs=["y", "mean", "r"]),
    Own("layer_norm_middle", "LayerNormalization", [(2, 3, 4), (3, 4)], {"axis": 1, "epsilon": 0.1}),
    Own("layer_norm_first_only", "LayerNormalization", [(2, 3, 4), (4,)], outputs=["y", "mean"]),
    Own("group_norm_per_group", "GroupNormalization", [(2, 6, 4, 3), (3,), (3,)], {"num_groups": 3}, opset=18),
    Own("group_norm_1d", "GroupNormalization", [(2, 6, 5), (6,), (6,)], {"num_groups": 2}),
    Own("instance_norm_1d", "InstanceNormalization", [(2, 3, 5), (3,), (3,)]),
    Own("instance_norm_3d", "InstanceNormalization", [(2, 3, 2, 4, 3), (3,), (3,)], {"epsilon": 0.1}),
    Own("rms_norm_middle", "RMSNormalization", [(2, 3, 4), (3, 4)], {"axis": 1}, opset=23),
    Own("mean_variance_axes", "MeanVarianceNormalization", [(2, 3, 4)], {"axes": [1, -1]}),
    Own("lp_norm_1", "LpNormalization", [(2, 3, 4)], {"p": 1, "axis": 0}),
    Own("lp_norm_2", "LpNormalization", [(2, 3, 4)], {"p": 2, "axis": 1}),
    Own("lrn_odd", "LRN", [(2, 7, 3, 2)], {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
    Own("lrn_even", "LRN", [(2, 7, 3, 2)], {"size": 4, "alpha": 0.3}),
]

"""What kernels add up to at each precision."""

from __future__ import annotations

from tuner.jobs.precisions import precision_in, product_in, sums


def test_kernels_of_one_product_are_known_by_their_names() -> None:
    assert [precision_in(name) for name in ("matmul_add", "matmul_add_int8", "softmax")] == ["fp32", "int8", "fp32"]
    assert product_in("matmul_add_int8", "shapes") == product_in("matmul_add", "shapes")
    assert product_in("matmul_fp16", "float32[4,8], float16[8,8]") == product_in("matmul", "float32[4,8], float32[8,8]")


def test_a_model_takes_what_each_of_its_products_takes_at_one_precision() -> None:
    parts = [("a", "fp32", 10.0), ("a", "int8", 4.0), ("b", "fp32", 5.0), ("b", "bf16", 2.0), ("rows", "fp32", 1.0)]
    assert sums(parts) == {"fp32": 16.0, "int8": 10.0, "bf16": 13.0}


def test_where_float32_is_not_tried_there_is_no_time_of_it() -> None:
    assert sums([("a", "int8", 4.0), ("rows", "fp32", 1.0)]) == {"int8": 5.0}
    assert sums([]) == {}

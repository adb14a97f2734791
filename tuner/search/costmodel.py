"""The cost model: boosted trees over per-store features (Chen & Guestrin 2016; Zheng et al. 2020, section 5.2).

One model serves all workloads of a target family, so that what one GEMM taught helps the next.
"""

from __future__ import annotations

from typing import Any

from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.cost_model.xgb_model import XGBConfig

from rpc.lean import importing, without

_WARM_UP = 48  # samples before predictions are worth more than chance


def make_cost_model(threads: int) -> Any:
    """A fresh model that trains and predicts on ``threads`` threads."""
    with importing(), without("sklearn"):  # it would load it for estimators in that style: 2.9 s instead of 0.9
        import xgboost  # noqa: F401

    return ms.cost_model.XGBModel(
        config=XGBConfig(nthread=threads), num_warmup_samples=_WARM_UP, early_stopping_rounds=20, verbose_eval=0
    )

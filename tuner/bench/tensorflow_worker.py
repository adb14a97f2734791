"""Opens contestants of Keras and TensorFlow, in a Python of their own: ``tuner.bench.contestant`` starts it.

Of ours it needs what lies beside it and takes numpy alone: TensorFlow's pins exclude others here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench import graphdef, keras_bert
from tuner.bench.turns import Arrays, Opened, Order, Turns


def prepare() -> None:
    """Nothing is loaded beforehand: what loading takes is part of what is timed."""


def _opened(order: Order) -> Opened:
    os.environ.update({"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""})
    tensorflow: Any = importlib.import_module("tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(order["threads"])
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    place = Path(order["place"])
    return _keras(tensorflow, place) if order["kind"] == "keras" else _graph(tensorflow, place)


def _keras(tensorflow: Any, place: Path) -> Opened:
    """Traced once for any shape, as Keras's own ``predict`` does, without what that does around it."""
    model, outputs = keras_bert.build(place)
    kinds = {name: tensorflow.TensorSpec([None, None], tensorflow.int32) for name in keras_bert.INPUTS}
    traced = tensorflow.function(lambda given: model(given, training=False), input_signature=[kinds])

    def ready(batch: Arrays) -> Callable[[], Any]:
        tensors = {name: tensorflow.constant(batch[name], tensorflow.int32) for name in keras_bert.INPUTS}
        return lambda: traced(tensors)

    return Opened(ready, outputs)


def _graph(tensorflow: Any, place: Path) -> Opened:
    call, inputs, outputs = graphdef.opened(tensorflow, place)

    def ready(batch: Arrays) -> Callable[[], Any]:
        arrays = [batch[graphdef.meant(name, list(batch))].astype(kind) for name, kind in inputs.items()]
        tensors = [tensorflow.constant(np.ascontiguousarray(value)) for value in arrays]
        return lambda: call(*tensors)

    return Opened(ready, outputs)


answer = Turns(_opened).answer

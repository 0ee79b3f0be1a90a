"""Import this for one thread in every network of onnxruntime, whose threads spin while they wait for each other."""

from typing import Any

import onnxruntime

_open = onnxruntime.InferenceSession.__init__


def _open_on_one_thread(session: Any, path: Any, sess_options: Any = None, **rest: Any) -> None:
    options = sess_options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    _open(session, path, options, **rest)


onnxruntime.InferenceSession.__init__ = _open_on_one_thread

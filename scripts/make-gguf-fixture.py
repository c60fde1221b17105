"""Makes test/fixtures/tiny.gguf and tiny-gguf.json with the reference Python package.

pip install gguf numpy; python3 scripts/make-gguf-fixture.py
"""
import json
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter
from gguf.quants import dequantize, quantize

out = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
rng = np.random.default_rng(7)
w = GGUFWriter(out / "tiny.gguf", "llama")
w.add_name("tiny")
w.add_uint32("test.u32", 4_000_000_000)
w.add_int32("test.i32", -5)
w.add_float32("test.f32", 0.5)
w.add_uint64("test.u64", 2**63 + 1)
w.add_bool("test.bool", True)
w.add_string("test.text", "naïve ☕")
w.add_array("test.strings", ["a", "", "ß"])
w.add_array("test.ints", [1, -2, 3])
expected = {}
for name, qtype in (("f32", T.F32), ("f16", T.F16), ("q4_0", T.Q4_0), ("q4_1", T.Q4_1), ("q8_0", T.Q8_0), ("q4_k", None)):
    if qtype is None:  # a known type without a decoder: raw bytes of one 256-element block a row
        raw = rng.integers(0, 256, size=(2, 144), dtype=np.uint8)
        w.add_tensor(name, raw, raw_dtype=T.Q4_K)
        continue
    data = (rng.standard_normal((3, 64)) * np.array([[1], [1e-3], [200]])).astype(np.float32)
    if qtype == T.F32:
        raw, plain = data, data
        w.add_tensor(name, data)
    elif qtype == T.F16:
        raw = data.astype(np.float16)
        plain = raw.astype(np.float32)
        w.add_tensor(name, raw)
    else:
        raw = quantize(data, qtype)
        plain = dequantize(raw, qtype)
        w.add_tensor(name, raw, raw_dtype=qtype)
    expected[name] = [float(v) for v in plain.reshape(-1)]
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
(out / "tiny-gguf.json").write_text(json.dumps(expected) + "\n")

"""Makes test/fixtures/tiny.gguf and tiny-gguf.json with the reference Python package.

pip install gguf numpy; python3 scripts/make-gguf-fixture.py
"""
import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, GGUFWriter
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


def add(name, raw, qtype, plain):
    if qtype in (T.F32, T.F16):
        w.add_tensor(name, raw)
    else:
        w.add_tensor(name, raw, raw_dtype=qtype)
    assert np.isfinite(plain).all(), name
    expected[name] = [float(v) for v in plain.reshape(-1)]


for name, qtype in (("f32", T.F32), ("f16", T.F16), ("q4_0", T.Q4_0), ("q4_1", T.Q4_1), ("q8_0", T.Q8_0)):
    data = (rng.standard_normal((3, 64)) * np.array([[1], [1e-3], [200]])).astype(np.float32)
    raw = quantize(data, qtype)
    add(name, raw, qtype, dequantize(raw, qtype))
for name, qtype in (("bf16", T.BF16), ("q5_0", T.Q5_0), ("q5_1", T.Q5_1)):
    data = (rng.standard_normal((2, 32)) * np.array([[1e-3], [200]])).astype(np.float32)
    raw = quantize(data, qtype)
    add(name, raw, qtype, dequantize(raw, qtype))
# The package does not write these: random bits, which are blocks as good as any once their halves
# (at the bytes given) are finite. One is negative, one subnormal.
halves = np.array([0.011, -3.5, 7e-6, 0.25], dtype=np.float16).view(np.uint8).reshape(-1, 2)
for name, qtype, at in (
    ("q2_k", T.Q2_K, (80, 82)),
    ("q3_k", T.Q3_K, (108,)),
    ("q4_k", T.Q4_K, (0, 2)),
    ("q5_k", T.Q5_K, (0, 2)),
    ("q6_k", T.Q6_K, (208,)),
):
    raw = rng.integers(0, 256, size=(2, GGML_QUANT_SIZES[qtype][1]), dtype=np.uint8)
    for block in range(2):
        for i, byte in enumerate(at):
            raw[block, byte : byte + 2] = halves[(block + 2 * i) % 4]
    add(name, raw, qtype, dequantize(raw, qtype))
# A type without a decoder: raw bytes of two blocks a row.
w.add_tensor("iq4_nl", rng.integers(0, 256, size=(2, 36), dtype=np.uint8), raw_dtype=T.IQ4_NL)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
(out / "tiny-gguf.json").write_text(json.dumps(expected) + "\n")

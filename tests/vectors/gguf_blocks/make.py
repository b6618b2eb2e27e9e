"""Random blocks of every GGUF format jet reads, decoded by the `gguf` package: an oracle that shares no code with jet.

Usage: pip install gguf==0.19.0 numpy safetensors; python make.py
"""

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants
from safetensors.numpy import save_file

# Format -> bytes of a block, offsets of its f16 fields.
FORMATS = {
    "q4_0": (T.Q4_0, 18, [0]),
    "q4_1": (T.Q4_1, 20, [0, 2]),
    "q5_0": (T.Q5_0, 22, [0]),
    "q5_1": (T.Q5_1, 24, [0, 2]),
    "q8_0": (T.Q8_0, 34, [0]),
    "q4_k": (T.Q4_K, 144, [0, 2]),
    "q6_k": (T.Q6_K, 210, [208]),
}
SEED = 20251121
BLOCKS = {18: 24, 20: 24, 22: 24, 24: 24, 34: 24, 144: 6, 210: 6}

rng = np.random.default_rng(SEED)
tensors = {}
for name, (kind, size, halves) in FORMATS.items():
    raw = rng.integers(0, 256, size=(BLOCKS[size], size), dtype=np.uint8)
    for at in halves:
        # Any sign, exponent and fraction but infinities and NaN, whose payload NumPy need not keep.
        bits = raw[:, at].astype(np.uint16) | raw[:, at + 1].astype(np.uint16) << 8
        bits = np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits)
        raw[:, at], raw[:, at + 1] = bits & 255, bits >> 8
    raw[0, halves[0] : halves[0] + 2] = 0
    raw = raw.reshape(1, -1)
    tensors[f"{name}.raw"] = raw[0].copy()
    tensors[f"{name}.f32"] = quants.dequantize(raw, kind)[0].astype(np.float32)
save_file(tensors, "blocks.safetensors", metadata={"generator": "make.py, gguf 0.19.0", "seed": str(SEED)})

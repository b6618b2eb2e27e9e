#!/usr/bin/env python3
"""Counts what kernels of Triton and of fla-core do, on jet's PTX emulator, without a GPU and without PyTorch.

    python bench/counters/peers.py --emu target/release/jet-emu --fla WHEEL --work FOLDER

prints one JSON object a line: the peer, its architecture, its tiles, its counters summed over its launches, and how far
its result is from a float64 reference. `cargo xtask bench counters` installs what this needs and calls it.
"""

import argparse
import json
import math
import pathlib
import struct
import subprocess
import sys
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "emu/tests/fixtures/triton"))

import make  # noqa: E402  how Triton compiles without a GPU, and fla-core without PyTorch


# Tensors: float32 arrays with the name of the format that they are stored in.


def bf16(x):
    """The nearest bfloat16 values, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def store(path, tensors):
    header, blobs, at = {}, [], 0
    for name, (dtype, array) in tensors.items():
        if dtype == "BF16":
            blob = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            blob = np.ascontiguousarray(array, np.float32).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body, out = json.loads(data[8 : 8 + length]), data[8 + length :], {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        first, last = about["data_offsets"]
        blob = body[first:last]
        if about["dtype"] == "BF16":
            array = (np.frombuffer(blob, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            array = np.frombuffer(blob, np.float32)
        out[name] = (about["dtype"], array.reshape(about["shape"]))
    return out


class Run:
    """Launches kernels one after the other on the emulator and adds up what they do."""

    def __init__(self, emu, work, capability, tensors):
        self.emu, self.work, self.capability, self.tensors = emu, work, capability, dict(tensors)
        self.counters = {"launches": 0, "warp_instructions": 0, "tensor_flops": 0, "sector_bytes": 0,
                         "unique_bytes": 0, "wavefronts": 0, "ideal_wavefronts": 0}
        self.tiles = []

    def launch(self, kernel, types_of, constants, warps, stages, grid, args, aligned=()):
        compiled = make.compile_kernel(kernel, types_of, constants, warps, stages, self.capability, aligned)
        metadata = compiled.metadata
        if metadata.global_scratch_size:
            raise SystemExit(f"{metadata.name} wants global scratch")
        name = metadata.name
        ptx = self.work / f"{name}.{self.capability}.ptx"
        ptx.write_text(make.text(compiled, name))
        paths = [self.work / f for f in ("in.safetensors", "args.json", "out.safetensors", "report.json")]
        store(paths[0], self.tensors)
        # Behind the arguments Triton wants two pointers to scratch.
        paths[1].write_text(json.dumps(args + [{"null": True}, {"null": True}]))
        command = [self.emu, ptx, "--kernel", name, "--grid", ",".join(map(str, grid)), "--block", str(32 * warps),
                   "--smem", str(metadata.shared), "--in", paths[0], "--args", paths[1], "--out", paths[2],
                   "--report", paths[3]]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name} failed on the emulator:\n{done.stdout}{done.stderr}")
        self.tensors.update(load(paths[2]))
        c = json.loads(paths[3].read_text())["counters"]
        total = self.counters
        total["launches"] += 1
        total["warp_instructions"] += c["instructions"]["warp"]
        total["tensor_flops"] += sum(t["flops"] for t in c["tensor"])
        total["sector_bytes"] += 32 * c["global"]["sectors"]
        total["unique_bytes"] += sum(b["unique_read_bytes"] + b["unique_written_bytes"] for b in c["buffers"])
        total["wavefronts"] += c["shared"]["wavefronts"]
        total["ideal_wavefronts"] += c["shared"]["ideal_wavefronts"]
        tiles = " ".join(f"{k}={v}" for k, v in constants.items() if k in ("TILE_M", "TILE_N", "TILE_K", "QUERIES", "KEYS", "BT", "BK", "BV"))
        self.tiles.append(f"{name}[{tiles} warps={warps} stages={stages}]")


def relative(got, want):
    return float(np.sqrt(np.square(got.astype(np.float64) - want).sum() / np.square(want).sum()))


def random(seed, shape, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def tensor(name):
    return {"tensor": name}


def fresh(name, dtype, shape):
    return {"zeros": name, "dtype": dtype, "shape": list(shape)}


# The peers. Each gives its counters for the sizes in shapes below.


def matmul(run, m, n, k):
    import triton_kernels as kernels

    x, w = bf16(random(1, (m, k))), bf16(random(2, (n, k)))
    run.tensors = {"x": ("BF16", x), "w": ("BF16", w)}
    types_of = {"x": "*bf16", "w": "*bf16", "out": "*bf16", "m": "i32", "n": "i32", "k": "i32"}
    tiles = {"TILE_M": 128, "TILE_N": 128, "TILE_K": 64 if run.capability >= 90 else 32}
    grid = [math.ceil(m / 128) * math.ceil(n / 128), 1, 1]
    args = [tensor("x"), tensor("w"), fresh("out", "BF16", (m, n)), {"i32": m}, {"i32": n}, {"i32": k}]
    run.launch(kernels.matmul, types_of, tiles, 8, 3, grid, args, ["m", "n", "k"])
    return relative(run.tensors["out"][1], x.astype(np.float64) @ w.astype(np.float64).T)


def attention(run, tokens, heads, kv_heads, d_head):
    import triton_kernels as kernels

    q = bf16(random(3, (tokens, heads, d_head)))
    k, v = (bf16(random(seed, (tokens, kv_heads, d_head))) for seed in (4, 5))
    run.tensors = {"q": ("BF16", q), "k": ("BF16", k), "v": ("BF16", v)}
    types_of = {"q": "*bf16", "k": "*bf16", "v": "*bf16", "out": "*bf16", "tokens": "i32"}
    constants = {"HEADS": heads, "KV_HEADS": kv_heads, "HEAD": d_head, "QUERIES": 128, "KEYS": 64}
    grid = [math.ceil(tokens / 128), heads, 1]
    args = [tensor("q"), tensor("k"), tensor("v"), fresh("out", "BF16", (tokens, heads, d_head)), {"i32": tokens}]
    run.launch(kernels.attention, types_of, constants, 8, 3, grid, args, ["tokens"])
    want = np.empty((tokens, heads, d_head))
    seen = np.tril(np.ones((tokens, tokens), bool))
    for h in range(heads):
        at = h // (heads // kv_heads)
        scores = q[:, h].astype(np.float64) @ k[:, at].astype(np.float64).T / math.sqrt(d_head)
        p = np.where(seen, np.exp(scores - np.where(seen, scores, -np.inf).max(1, keepdims=True)), 0)
        want[:, h] = p / p.sum(1, keepdims=True) @ v[:, at]
    return relative(run.tensors["out"][1], want)


def gated_delta(run, fla, tokens, heads, d_key, d_value):
    """The chunked forward pass of fla-core with keys and queries that are normalised already."""
    unit = lambda x: bf16(x / np.sqrt(np.square(x).sum(-1, keepdims=True) + 1e-6))  # noqa: E731
    q, k = (unit(random(seed, (1, tokens, heads, d_key))) for seed in (6, 7))
    v = bf16(random(8, (1, tokens, heads, d_value)))
    g, beta = random(9, (1, tokens, heads), -0.2, 0.0), random(10, (1, tokens, heads), 0.0, 1.0)
    h0 = random(11, (1, heads, d_key, d_value))
    run.tensors = {"q": ("BF16", q), "k": ("BF16", k), "v": ("BF16", v), "g": ("F32", g), "beta": ("F32", beta),
                   "h0": ("F32", h0)}
    chunk, scale = 64, d_key**-0.5
    chunks = math.ceil(tokens / chunk)
    bf, f32 = "*bf16", "*fp32"
    sizes = {"H": heads, "HV": heads, "K": d_key, "V": d_value, "BT": chunk}
    flags = {"USE_G": True, "IS_VARLEN": False, "cu_seqlens": None, "chunk_indices": None}
    fixed = {"T": {"i32": tokens}}
    per_chunk = [chunks, heads, 1]

    run.launch(
        fla["cumsum"], {"s": f32, "o": f32, "scale": "fp32", "T": "i32"},
        {"B": 1, "H": heads, "BT": chunk, "REVERSE": False, "HAS_SCALE": True, "IS_VARLEN": False,
         "cu_seqlens": None, "chunk_indices": None, "USE_GRAPH": False},
        2, 2, [chunks * heads, 1, 1],
        [tensor("g"), fresh("sum", "F32", g.shape), {"f32": 1 / math.log(2)}, fixed["T"]],
    )
    run.launch(
        fla["solve"], {"k": bf, "g": f32, "beta": f32, "A": bf, "T": "i32"},
        {n: sizes[n] for n in ("H", "HV", "K", "BT")} | {"BC": 16, "BK": 32} | flags,
        4, 2, per_chunk,
        [tensor("k"), tensor("sum"), tensor("beta"), fresh("A", "BF16", (1, tokens, heads, chunk)), fixed["T"]],
    )
    run.launch(
        fla["values"], {"k": bf, "v": bf, "beta": f32, "w": bf, "u": bf, "A": bf, "g": f32, "T": "i32"},
        sizes | {"BK": 64, "BV": 64} | flags, 4, 2, per_chunk,
        [tensor("k"), tensor("v"), tensor("beta"), fresh("w", "BF16", k.shape), fresh("u", "BF16", v.shape),
         tensor("A"), tensor("sum"), fixed["T"]],
    )
    run.launch(
        fla["states"], {"k": bf, "v": bf, "w": bf, "v_new": bf, "g": f32, "h": bf, "h0": f32, "ht": f32, "T": "i32"},
        sizes | {"BV": 32, "USE_G": True, "USE_GK": False, "USE_INITIAL_STATE": True, "STORE_FINAL_STATE": True,
                 "SAVE_NEW_VALUE": True, "STATE_V_FIRST": False, "IS_VARLEN": False, "gk": None, "cu_seqlens": None,
                 "chunk_offsets": None},
        4, 2, [math.ceil(d_value / 32) * heads, 1, 1],
        [tensor("k"), tensor("u"), tensor("w"), fresh("v_new", "BF16", v.shape), tensor("sum"),
         fresh("h", "BF16", (1, chunks, heads, d_key, d_value)), tensor("h0"),
         fresh("ht", "F32", (1, heads, d_key, d_value)), fixed["T"]],
    )
    run.launch(
        fla["outputs"], {"q": bf, "k": bf, "v": bf, "h": bf, "g": f32, "o": bf, "scale": "fp32", "T": "i32"},
        sizes | {"BK": 64, "BV": 64, "USE_G_GAMMA": False, "STATE_V_FIRST": False, "g_gamma": None} | flags,
        4, 3, [math.ceil(d_value / 64) * chunks, heads, 1],
        [tensor("q"), tensor("k"), tensor("v_new"), tensor("h"), tensor("sum"), fresh("o", "BF16", v.shape),
         {"f32": scale}, fixed["T"]],
    )
    want = np.empty((tokens, heads, d_value))
    for h in range(heads):
        state = h0[0, h].astype(np.float64)
        for t in range(tokens):
            state *= math.exp(g[0, t, h])
            kt = k[0, t, h].astype(np.float64)
            state += np.outer(kt, (v[0, t, h] - kt @ state) * beta[0, t, h])
            want[t, h] = q[0, t, h].astype(np.float64) @ state * scale
    return relative(run.tensors["o"][1][0], want)


def fla_kernels(wheel, folder):
    """The kernels of fla-core's chunked gated delta rule."""
    make.open_fla(wheel, folder)
    from fla.ops.common import chunk_delta_h, chunk_o
    from fla.ops.gated_delta_rule import chunk_fwd, wy_fast
    from fla.ops.utils import cumsum

    return {
        "cumsum": make.bare(cumsum.chunk_local_cumsum_scalar_kernel),
        "solve": make.bare(chunk_fwd.chunk_gated_delta_rule_fwd_kkt_solve_kernel),
        "values": make.bare(wy_fast.recompute_w_u_fwd_kernel),
        "states": make.bare(chunk_delta_h.chunk_gated_delta_rule_fwd_kernel_h_blockdim64),
        "outputs": make.bare(chunk_o.chunk_fwd_kernel_o),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emu", type=pathlib.Path, required=True)
    parser.add_argument("--fla", type=pathlib.Path, required=True, help="the wheel of fla-core")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--shapes", type=pathlib.Path, default=HERE / "peers.json")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    fla = fla_kernels(args.fla, args.work / "fla")
    peers = {"matmul": matmul, "attention": attention, "gated_delta": lambda run, **s: gated_delta(run, fla, **s)}
    for shape in json.loads(args.shapes.read_text()):
        for capability in (80, 90):
            run = Run(args.emu, args.work, capability, {})
            error = peers[shape["peer"]](run, **shape["sizes"])
            if not error < 2e-2:
                raise SystemExit(f"{shape['name']}: the peer's result is off by {error:.1e}")
            line = {"name": shape["name"], "capability": capability, "tiles": run.tiles, "counters": run.counters,
                    "rel_rms": error}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

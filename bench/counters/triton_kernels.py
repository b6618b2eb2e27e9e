"""Peers in Triton's language, written as its users write them: a product of matrices and causal attention."""

import triton
import triton.language as tl


@triton.jit
def matmul(x, w, out, m, n, k, TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr):
    """out [m][n] = x [m][k] * w [n][k] transposed, all bf16; sizes are multiples of the tiles but for m."""
    down = tl.cdiv(m, TILE_M)
    rows = tl.program_id(0) % down * TILE_M + tl.arange(0, TILE_M)
    cols = tl.program_id(0) // down * TILE_N + tl.arange(0, TILE_N)
    depth = tl.arange(0, TILE_K)
    left = x + (rows % m)[:, None] * k + depth[None, :]
    right = w + cols[None, :] * k + depth[:, None]
    total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
    for _ in range(0, k, TILE_K):
        total = tl.dot(tl.load(left), tl.load(right), total)
        left += TILE_K
        right += TILE_K
    tl.store(out + rows[:, None] * n + cols[None, :], total.to(tl.bfloat16), mask=rows[:, None] < m)


@triton.jit
def attention(
    q, k, v, out, tokens,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HEAD: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):
    """Causal attention over [tokens][heads][HEAD] in bf16: keys before the tile of queries without a mask, then its own."""
    SCALE: tl.constexpr = 1.44269504 / HEAD**0.5
    first, head = tl.program_id(0) * QUERIES, tl.program_id(1)
    kv = head // (HEADS // KV_HEADS)
    rows, dims, offset = first + tl.arange(0, QUERIES), tl.arange(0, HEAD), tl.arange(0, KEYS)
    at = rows[:, None] * (HEADS * HEAD) + head * HEAD + dims[None, :]
    inside = rows[:, None] < tokens
    queries = tl.load(q + at, mask=inside, other=0.0)
    top = tl.full((QUERIES,), -1e30, dtype=tl.float32)
    weight = tl.zeros((QUERIES,), dtype=tl.float32)
    total = tl.zeros((QUERIES, HEAD), dtype=tl.float32)
    for start in range(0, first, KEYS):
        there = (start + offset) * (KV_HEADS * HEAD) + kv * HEAD
        x = tl.load(k + there[None, :] + dims[:, None])
        scores = tl.dot(queries, x) * SCALE
        highest = tl.maximum(top, tl.max(scores, axis=1))
        p = tl.exp2(scores - highest[:, None])
        rescale = tl.exp2(top - highest)
        weight = weight * rescale + tl.sum(p, axis=1)
        values = tl.load(v + there[:, None] + dims[None, :])
        total = tl.dot(p.to(tl.bfloat16), values, total * rescale[:, None])
        top = highest
    for start in range(first, first + QUERIES, KEYS):
        keys = start + offset
        there = keys * (KV_HEADS * HEAD) + kv * HEAD
        x = tl.load(k + there[None, :] + dims[:, None], mask=keys[None, :] < tokens, other=0.0)
        scores = tl.where(keys[None, :] <= rows[:, None], tl.dot(queries, x) * SCALE, -1e30)
        highest = tl.maximum(top, tl.max(scores, axis=1))
        p = tl.exp2(scores - highest[:, None])
        rescale = tl.exp2(top - highest)
        weight = weight * rescale + tl.sum(p, axis=1)
        values = tl.load(v + there[:, None] + dims[None, :], mask=keys[:, None] < tokens, other=0.0)
        total = tl.dot(p.to(tl.bfloat16), values, total * rescale[:, None])
        top = highest
    tl.store(out + at, (total / weight[:, None]).to(tl.bfloat16), mask=inside)

"""What the components compute, operator by operator, from a model's configuration.

Counts at paper scale (N visual tokens, M = N + query tokens): encoder linear 2 * 303.6 M * N,
attention 24 * 4 * N^2 * 1024; predictor linear 2 * (486.5 M * M + 2.1 M * N), attention
8 * 4 * M^2 * 2048. tests/test_bench_devices.py holds them against the table in docs/bench.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...model.config import TransformerConfig, VLJEPAConfig


@dataclass(frozen=True)
class Gemm:
    """rows x inner times inner x columns; `repeats` of them, each with its own weights.

    `precision` where a graph tells it of this product; None: what is asked.
    """

    rows: int
    inner: int
    columns: int
    repeats: int = 1
    precision: str | None = None

    @property
    def flops(self) -> float:
        """Floating point operations, a multiply-add counted as two."""
        return 2.0 * self.rows * self.inner * self.columns * self.repeats

    @property
    def weights(self) -> float:
        """Parameters read."""
        return float(self.inner * self.columns * self.repeats)


@dataclass(frozen=True)
class Attention:
    """`heads` times queries x keys scores of width `head_dim`, softmax, and the weighted sum."""

    queries: int
    keys: int
    heads: int
    head_dim: int
    repeats: int = 1

    @property
    def flops(self) -> float:
        """Both matrix products; the softmax is counted by `exps`."""
        return 4.0 * self.queries * self.keys * self.heads * self.head_dim * self.repeats

    @property
    def exps(self) -> float:
        """Exponentials of the softmax."""
        return float(self.queries * self.keys * self.heads * self.repeats)


@dataclass(frozen=True)
class Elementwise:
    """Norms, residual sums, rotations: passes over rows x width, bound by memory."""

    rows: int
    width: int
    passes: int
    repeats: int = 1


@dataclass(frozen=True)
class Work:
    """One node of a real graph: so many units of a class that a device has a measured rate for.

    Units: operations of "attention", exponentials of "softmax", bytes in and out of all else.
    """

    kind: str
    amount: float


Operator = Gemm | Attention | Elementwise | Work


@dataclass(frozen=True)
class Component:
    """One engine's run."""

    name: str
    operators: tuple[Operator, ...]

    @property
    def linear_flops(self) -> float:
        """Of all matrix products with weights."""
        return sum(op.flops for op in self.operators if isinstance(op, Gemm))

    @property
    def attention_flops(self) -> float:
        """Of all attentions."""
        return sum(
            op.flops if isinstance(op, Attention) else op.amount
            for op in self.operators
            if isinstance(op, Attention) or (isinstance(op, Work) and op.kind == "attention")
        )

    @property
    def flops(self) -> float:
        """Linear and attention."""
        return self.linear_flops + self.attention_flops

    @property
    def weights(self) -> float:
        """Parameters."""
        return sum(op.weights for op in self.operators if isinstance(op, Gemm))


def vision_layers(
    tokens: int, layers: int, width: int, heads: int, mlp_width: int
) -> tuple[Operator, ...]:
    """Plain ViT layers: qkv, attention, projection, two MLP products."""
    return (
        Gemm(tokens, width, 3 * width, layers),
        Attention(tokens, tokens, heads, width // heads, layers),
        Gemm(tokens, width, width, layers),
        Gemm(tokens, width, mlp_width, layers),
        Gemm(tokens, mlp_width, width, layers),
        Elementwise(tokens, width, 4, layers),
    )


def llama_layers(c: TransformerConfig, rows: int, keys: int) -> tuple[Operator, ...]:
    """Llama-shaped layers: grouped-query attention and a gated MLP."""
    attended = c.heads * c.head_dim
    return (
        Gemm(rows, c.width, attended + 2 * c.kv_heads * c.head_dim, c.layers),
        Attention(rows, keys, c.heads, c.head_dim, c.layers),
        Gemm(rows, attended, c.width, c.layers),
        Gemm(rows, c.width, 2 * c.mlp_width, c.layers),
        Gemm(rows, c.mlp_width, c.width, c.layers),
        Elementwise(rows, c.width, 4, c.layers),
    )


def encoder(config: VLJEPAConfig) -> Component:
    """X-Encoder over one window."""
    x, tokens = config.x_encoder, config.visual_tokens
    patch = 3 * x.tubelet * x.patch * x.patch
    layers = vision_layers(tokens, x.layers, x.width, x.heads, round(x.mlp_ratio * x.width))
    return Component("encode", (Gemm(tokens, patch, x.width), *layers))


def predictor(config: VLJEPAConfig, query_tokens: int) -> Component:
    """Predictor over one window and one query."""
    c, tokens = config.predictor.transformer, config.visual_tokens
    rows = tokens + query_tokens
    project = Gemm(tokens, config.predictor.visual_width, c.width)
    head = Gemm(1, c.width, config.embedding_width)
    return Component("predict", (project, *llama_layers(c, rows, rows), head))


def decode_token(config: VLJEPAConfig) -> Component | None:
    """One step of the Y-Decoder in the middle of a text; None without one."""
    if config.y_decoder is None:
        return None
    c = config.y_decoder.transformer
    keys = config.y_decoder.prefix_tokens + config.y_decoder.max_new_tokens // 2
    return Component("decode_token", (*llama_layers(c, 1, keys), Gemm(1, c.width, c.vocabulary)))


def components(config: VLJEPAConfig, query_tokens: int) -> tuple[Component, ...]:
    """Encode, predict and, where there is a Y-Decoder, one decode step."""
    step = decode_token(config)
    always = (encoder(config), predictor(config, query_tokens))
    return always if step is None else (*always, step)

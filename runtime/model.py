"""`Model`: an open bundle that watches streams, embeds, classifies, answers and decodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from vljepa_edge.runtime import description, queries
from vljepa_edge.runtime._core import ffi, lib
from vljepa_edge.runtime.bundle import COMPONENTS, Bundle, default_bundle
from vljepa_edge.runtime.description import ModelDescription
from vljepa_edge.runtime.engines import Array, Hooks, PythonEngine, core_tensors
from vljepa_edge.runtime.errors import ArgumentError, check
from vljepa_edge.runtime.frames import PixelFormat, Pixels, make_window
from vljepa_edge.runtime.handles import ModelHandle
from vljepa_edge.runtime.library import (
    cache_folder,
    find_onnxruntime,
    find_openvino,
    find_openvino_ops,
    find_tensorrt,
)
from vljepa_edge.runtime.options import (
    FLOAT_PRECISIONS,
    FloatPrecision,
    GateOptions,
    Provider,
    StreamOptions,
    TextSource,
)
from vljepa_edge.runtime.queries import Query
from vljepa_edge.runtime.session import Session
from vljepa_edge.runtime.sources import IterableSource, LimitedSource, Source, open_source
from vljepa_edge.runtime.stream import Stream
from vljepa_edge.runtime.tokenizer import BundleTokenizer, load_tokenizer
from vljepa_edge.runtime.video import read_uniform

Floats = npt.NDArray[np.float32]
Frames = Pixels | Sequence[Pixels] | str | os.PathLike[str]


@dataclass(frozen=True)
class Match:
    """One candidate and its cosine to the predicted embedding."""

    text: str
    score: float


@dataclass(frozen=True)
class Decoded:
    """A text that the Y-Decoder wrote; `complete` is False where it ran out of room."""

    text: str
    confidence: float  # exp(mean log-probability)
    tokens: int
    complete: bool


class Model:
    """An open bundle. Safe to use from several threads; close it when it is done."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        backend: str = "ort",
        threads: int = 0,
        decode_threads: int = 0,
        verify_hashes: bool = True,
        components: Iterable[str] | None = None,
        engine: PythonEngine | None = None,
        log: Callable[[str, str], None] | None = None,
        clock_ns: Callable[[], int] | None = None,
        float_precision: FloatPrecision | None = None,
        cache: str | os.PathLike[str] | None = None,
        cpus: str | None = None,
        decode_cpus: str | None = None,
        provider: Provider | None = None,
        device: int = 0,
        arena: bool = True,
        own_ops: bool = True,
        packed_weights: bool = True,
        engines: str | os.PathLike[str] | None = None,
    ) -> None:
        """Opens a bundle folder or image; None is the packaged nano bundle. See `load`."""
        if float_precision is not None and float_precision not in FLOAT_PRECISIONS:
            names = ", ".join(FLOAT_PRECISIONS)
            raise ArgumentError(f"float_precision {float_precision!r} is not one of {names}")
        self.path = default_bundle() if path is None else Path(path)
        self._hooks = Hooks(engine, log, clock_ns)
        options = ffi.new("vlj_model_options *")
        options.struct_size = ffi.sizeof("vlj_model_options")
        options.header_version = lib.VLJ_HEADER_VERSION
        backend_name = ffi.new("char[]", backend.encode())
        optional = backend in ("openvino", "auto")
        keeps = optional or provider == "tensorrt"
        library_name = _path(find_onnxruntime() if backend in ("ort", "auto") else None)
        openvino_name = _path(find_openvino() if optional else None)
        cache_name = _path((cache or cache_folder()) if keeps else None)
        options.backend = backend_name
        options.backend_library = library_name
        options.openvino_library = openvino_name
        options.openvino_ops = openvino_ops = _path(find_openvino_ops() if optional else None)
        options.cache_folder = cache_name
        options.float_precision = FLOAT_PRECISIONS[float_precision] if float_precision else 0
        options.cpus = cpu_list = _text(cpus)
        options.decode_cpus = decode_cpu_list = _text(decode_cpus)
        options.provider = provider_name = _text(provider)
        options.device = device
        options.arena = lib.VLJ_DEFAULT if arena else lib.VLJ_OFF
        runs_engines = backend == "tensorrt" or (backend == "auto" and engines is not None)
        options.tensorrt_library = tensorrt_name = _path(find_tensorrt() if runs_engines else None)
        options.engine_folder = engine_folder = _path(engines)
        options.packed_weights = lib.VLJ_DEFAULT if packed_weights else lib.VLJ_OFF
        options.own_ops = lib.VLJ_DEFAULT if own_ops else lib.VLJ_OFF
        options.threads = threads
        options.decode_threads = decode_threads
        options.skip_hashes = not verify_hashes
        options.component_mask = _component_mask(components)
        options.hooks = self._hooks.hooks
        options.callbacks = self._hooks.callbacks
        out = ffi.new("vlj_model **")
        check(lib.vlj_model_open(os.fsencode(self.path), options, out))
        # lived as long as the core looked at them
        del cpu_list, decode_cpu_list, provider_name, tensorrt_name, engine_folder, openvino_ops
        self._handle: ModelHandle | None = ModelHandle(out[0], self._hooks)
        self._tokenizers: dict[str, BundleTokenizer] = {}

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        about = self.description
        return f"<Model {about.name} {about.precision} from {self.path}>"

    def close(self) -> None:
        """Frees the engines, as soon as its last stream is closed too."""
        self._handle = None

    @property
    def handle(self) -> ModelHandle:
        """What keeps the engines open. ArgumentError once the model is closed."""
        if self._handle is None:
            raise ArgumentError("the model is closed", lib.VLJ_E_STATE, "VLJ_E_STATE")
        return self._handle

    @property
    def pointer(self) -> Any:
        """The core's `vlj_model *`."""
        return self.handle.pointer

    # ---- what it is ----

    @cached_property
    def description(self) -> ModelDescription:
        """Sizes and defaults of the bundle."""
        core = ffi.new("vlj_model_description *")
        core.struct_size = ffi.sizeof("vlj_model_description")
        check(lib.vlj_model_describe(self.pointer, core))
        return description.from_core(core)

    @cached_property
    def world(self) -> int:
        """Version of sprite world that the bundle was trained on; 1 where its card tells none."""
        with Bundle(self.path) as bundle:
            return bundle.world()

    @cached_property
    def gate(self) -> GateOptions:
        """The bundle's gate, calibrated for its precision."""
        core = ffi.new("vlj_gate_options *")
        core.struct_size = ffi.sizeof("vlj_gate_options")
        check(lib.vlj_model_gate(self.pointer, core))
        return GateOptions.from_core(core)

    def has(self, component: str) -> bool:
        """Whether this component is open (`x_encoder`, `predictor`, `y_encoder`, ...)."""
        return bool(self.description.component_mask >> COMPONENTS.index(component) & 1)

    @property
    def default_text_source(self) -> TextSource:
        """Where text comes from by default: the Y-Decoder, else a phrase bank, else nowhere."""
        if self.has("y_decoder"):
            return "decoder"
        return "phrases" if self.description.phrase_bank_count else "none"

    # ---- queries ----

    @property
    def queries(self) -> list[Query]:
        """The queries that are compiled into the bundle; the first is a stream's default."""
        compiled = []
        core = ffi.new("vlj_query *")
        core.struct_size = ffi.sizeof("vlj_query")
        for i in range(self.description.query_count):
            check(lib.vlj_model_query_at(self.pointer, i, core))
            compiled.append(queries.from_core(core, self.description.query_width))
        return compiled

    def compile_query(self, text: str) -> Query:
        """A text's token embeddings: those in the bundle, or by its tokenizer and table.

        Raises ArgumentError for an empty text, one that is too long, and one that the bundle cannot
        compile.
        """
        if not text.strip():
            raise ArgumentError(
                "a query is empty; say what to look for", lib.VLJ_E_QUERY, "VLJ_E_QUERY"
            )
        core = ffi.new("vlj_query *")
        core.struct_size = ffi.sizeof("vlj_query")
        if lib.vlj_model_find_query(self.pointer, text.encode("utf-8"), core) == lib.VLJ_OK:
            return queries.from_core(core, self.description.query_width)
        token_ids = self.tokenize(text)
        about = self.description
        if len(token_ids) > about.max_query_tokens:
            raise ArgumentError(
                f"the query {_shortened(text)!r} has {len(token_ids)} tokens, "
                f"this bundle takes at most {about.max_query_tokens}; shorten it",
                lib.VLJ_E_QUERY,
                "VLJ_E_QUERY",
            )
        embeddings = np.empty((len(token_ids), about.query_width), np.float32)
        ids = np.asarray(token_ids, np.int64)
        check(
            lib.vlj_model_compile_query(
                self.pointer,
                ffi.cast("int64_t *", ids.ctypes.data),
                len(ids),
                _floats(embeddings),
                embeddings.size,
            )
        )
        return Query(text, embeddings)

    def tokenize(self, text: str, role: str = "query") -> list[int]:
        """Token ids of a text, by the bundle's tokenizer for `query` or `y_encoder`."""
        if role not in self._tokenizers:
            self._tokenizers[role] = load_tokenizer(self.path, role)
        return self._tokenizers[role].encode(text)

    def _queries(self, texts: Sequence[str] | str | None) -> list[Query]:
        if texts is None:
            return self.queries[:1] or [self.compile_query("What is happening?")]
        return [self.compile_query(text) for text in ([texts] if isinstance(texts, str) else texts)]

    # ---- embeddings ----

    def window(self, frames: Frames, pixel_format: PixelFormat = "rgb") -> Pixels:
        """Pictures or a video file -> one window uint8 [T, 3, H, W], taken evenly from it."""
        if isinstance(frames, str | os.PathLike):
            frames, pixel_format = read_uniform(frames, self.description.frames), "bgr"
        about = self.description
        return make_window(
            frames, about.frames, about.height, about.width, about.resize_short_side, pixel_format
        )

    def encode_window(self, window: Pixels) -> Floats:
        """One window uint8 [T, 3, H, W] -> visual tokens float32 [N, D]."""
        about = self.description
        window = np.ascontiguousarray(window, np.uint8)
        tokens = np.empty((about.visual_tokens, about.visual_width), np.float32)
        pointer = ffi.cast("uint8_t *", window.ctypes.data)
        check(
            lib.vlj_encode_window(
                self.pointer, pointer, window.nbytes, _floats(tokens), tokens.size
            )
        )
        return tokens

    def predict(self, visual_tokens: Floats, compiled: Sequence[Query]) -> Floats:
        """Visual tokens [N, D] and queries -> predicted embeddings float32 [Q, E], unit length."""
        embeddings = np.empty((len(compiled), self.description.embedding_width), np.float32)
        tokens = np.ascontiguousarray(visual_tokens, np.float32)
        array, kept = queries.core_queries(compiled)
        check(
            lib.vlj_predict(
                self.pointer,
                _floats(tokens),
                tokens.size,
                array,
                len(compiled),
                _floats(embeddings),
                embeddings.size,
            )
        )
        del kept
        return embeddings

    def embed_video(
        self,
        frames: Frames,
        query: str | None = None,
        pixel_format: PixelFormat = "rgb",
    ) -> Floats:
        """Predicted embedding float32 [E] of pictures (uint8 [T, H, W, 3]) or a video file.

        Any number of pictures of any size; the window's frames are taken evenly from them.
        """
        visual_tokens = self.encode_window(self.window(frames, pixel_format))
        embedding: Floats = self.predict(visual_tokens, self._queries(query))[0]
        return embedding

    def embed_text(self, texts: Sequence[str]) -> Floats:
        """Y-Encoder embeddings float32 [len(texts), E], in the space of the predicted ones."""
        if isinstance(texts, str):
            raise ArgumentError("embed_text takes a list of texts, not one text")
        limit = self.description.text_max_tokens
        embeddings = np.empty((len(texts), self.description.embedding_width), np.float32)
        for text, row in zip(texts, embeddings, strict=True):
            token_ids = self.tokenize(text, "y_encoder")
            if not token_ids or len(token_ids) > limit:
                raise ArgumentError(
                    f"the text {_shortened(text)!r} has {len(token_ids)} tokens, "
                    f"wanted 1 to {limit}"
                )
            ids = np.asarray(token_ids, np.int64)
            pointer = ffi.cast("int64_t *", ids.ctypes.data)
            check(lib.vlj_embed_tokens(self.pointer, pointer, len(ids), _floats(row), row.size))
        return embeddings

    # ---- answers ----

    def classify(
        self,
        frames: Frames,
        labels: Sequence[str],
        query: str | None = None,
        pixel_format: PixelFormat = "rgb",
    ) -> list[Match]:
        """The labels by their cosine to what the video means, best first."""
        embedding = self.embed_video(frames, query, pixel_format)
        scores = self.embed_text(labels) @ embedding
        order = np.argsort(-scores, kind="stable")
        return [Match(labels[i], float(scores[i])) for i in order]

    def answer(
        self,
        frames: Frames,
        question: str,
        candidates: Sequence[str] | None = None,
        pixel_format: PixelFormat = "rgb",
    ) -> list[Match]:
        """Answers a question: the candidates, best first, or what the Y-Decoder writes."""
        if candidates is not None:
            return self.classify(frames, candidates, question, pixel_format)
        decoded = self.decode(self.embed_video(frames, question, pixel_format))
        return [Match(decoded.text, decoded.confidence)]

    def decode(self, embedding: Floats) -> Decoded:
        """The text of one embedding float32 [E], by greedy decoding."""
        row = np.ascontiguousarray(embedding, np.float32)
        result = ffi.new("vlj_decode_result *")
        result.struct_size = ffi.sizeof("vlj_decode_result")
        size = 64 * max(16, self.description.decoder_max_new_tokens)
        text = ffi.new("char[]", size)
        check(lib.vlj_decode(self.pointer, _floats(row), row.size, text, size, result))
        return Decoded(
            ffi.string(text).decode("utf-8", "replace"),
            float(np.exp(result.mean_logprob)),
            int(result.token_count),
            bool(result.complete),
        )

    def nearest_phrases(self, embedding: Floats, k: int = 5, bank: int = 0) -> list[Match]:
        """The k phrases of a bank that lie nearest to an embedding float32 [E], best first."""
        row = np.ascontiguousarray(embedding, np.float32)
        indices, cosines = ffi.new("uint32_t[]", k), ffi.new("float[]", k)
        check(
            lib.vlj_nearest_phrases(self.pointer, bank, _floats(row), row.size, k, indices, cosines)
        )
        matches = []
        phrase = ffi.new("const char **")
        for index, cosine in zip(indices, cosines, strict=True):
            check(lib.vlj_phrase_text(self.pointer, bank, index, phrase))
            matches.append(Match(ffi.string(phrase[0]).decode("utf-8"), float(cosine)))
        return matches

    def run_component(
        self, component: str, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        """Runs one engine by itself over the caller's arrays; fills `outputs` in place."""
        core_inputs, kept_inputs = core_tensors(inputs)
        core_outputs, kept_outputs = core_tensors(outputs)
        check(
            lib.vlj_run_component(
                self.pointer,
                COMPONENTS.index(component),
                core_inputs,
                len(inputs),
                core_outputs,
                len(outputs),
            )
        )
        del kept_inputs, kept_outputs

    # ---- streams ----

    def session(
        self, queries: Sequence[str] | str | None = None, options: StreamOptions | None = None
    ) -> Session:
        """A stream of the core that the caller feeds and polls by hand."""
        return Session(self, self._queries(queries), options or StreamOptions())

    def stream(
        self,
        source: str | os.PathLike[str] | int | Source | Iterable[tuple[Pixels, int]],
        queries: Sequence[str] | str | None = None,
        options: StreamOptions | None = None,
        *,
        realtime: bool | None = None,
        max_frames: int | None = None,
    ) -> Stream:
        """Watches a video file, folder, camera index or iterable of (BGR picture, timestamp_ns).

        Pictures of another format, NV12 from a camera say, come as an `IterableSource`.

        `realtime` paces by timestamps and drops what comes too late; by default only cameras do.
        Otherwise every window is processed, and two runs give the same events.
        """
        options = options or StreamOptions()
        if not isinstance(source, Source):
            if isinstance(source, str | os.PathLike | int):
                source = open_source(source, folder_rate=options.fps or self.description.fps)
            else:
                source = IterableSource(source)
        if max_frames is not None:
            source = LimitedSource(source, max_frames)
        if realtime is None:
            realtime = options.realtime or source.live
        try:
            return Stream(source, self.session(queries, replace(options, realtime=realtime)))
        except BaseException:
            source.close()
            raise


def load(path: str | os.PathLike[str] | None = None, **options: Any) -> Model:
    """Opens a bundle folder or image; None is the packaged nano bundle, which is INT8.

    Options: backend ("ort", "openvino", "tensorrt", "auto": the fastest of them, found by a short
    trial that is kept, or "callback"), threads (of encode and predict, 0: all), decode_threads,
    verify_hashes, components (names of those to open; None: all), engine (a PythonEngine for
    "callback"), log(level, message), clock_ns, float_precision ("float32", "bfloat16", "float16";
    None: float32 for an FP32 bundle, else the backend's choice), cache (an existing folder for
    compiled models; None: the user's cache), cpus and decode_cpus (Linux: "0-3", or "auto": the
    large cores encode, others decode), provider ("cpu", "cuda", "tensorrt": of ONNX Runtime) and
    device (number of the GPU), arena (False: ONNX Runtime keeps no memory between runs), own_ops
    (False: ONNX Runtime and OpenVINO run what they have in place of this package's operators),
    packed_weights (False: weights beside an ONNX stay in the mapped file; less memory, slower),
    engines (for "tensorrt" and "auto": the folder that `vljepa export --engine tensorrt` made on
    this device). Raises
    BundleError and BackendError.
    """
    return Model(path, **options)


def _path(path: str | os.PathLike[str] | None) -> Any:
    return ffi.NULL if path is None else ffi.new("char[]", os.fsencode(path))


def _text(text: str | None) -> Any:
    return ffi.NULL if text is None else ffi.new("char[]", text.encode())


def _component_mask(components: Iterable[str] | None) -> int:
    mask = 0
    for name in components or ():
        if name not in COMPONENTS:
            raise ArgumentError(f"component {name!r} is not one of {', '.join(COMPONENTS)}")
        mask |= 1 << COMPONENTS.index(name)
    return mask


def _floats(array: Floats) -> Any:
    return ffi.cast("float *", array.ctypes.data)


def _shortened(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

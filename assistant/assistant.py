"""`Assistant`: watches a source with a model, tells what it means, alerts, answers, remembers."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any

from vljepa_edge.assistant.alerts import Alert, AlertBook, Firing, Phrases
from vljepa_edge.assistant.errors import AssistantError
from vljepa_edge.assistant.memory import DEFAULT_BUDGET_BYTES, BundleId, Memory, Recollection
from vljepa_edge.assistant.places import BrowserSource, open_place
from vljepa_edge.assistant.recorder import Recorder
from vljepa_edge.assistant.told import Answer, Caption, Remembering, Settings, Told, Watching
from vljepa_edge.assistant.vectors import Floats
from vljepa_edge.assistant.watcher import Wanted, Watcher
from vljepa_edge.runtime.errors import SourceError
from vljepa_edge.runtime.events import EmbeddingEvent, EndEvent, Event, TextEvent
from vljepa_edge.runtime.model import Match, Model, load
from vljepa_edge.runtime.options import GateOptions, StreamOptions
from vljepa_edge.runtime.sources import Source

Place = str | PathLike[str] | int | Source | Callable[[], Source]
When = datetime | timedelta | float | None

MOST_QUERIES = 8
_CAPTIONS_WAITING = 256
_CALLBACKS_WAITING = 64
_log = logging.getLogger(__name__)


class Assistant:
    """Watches `source` with `model`.

    model: an open Model, a bundle's path, or None for the packaged bundle. source: a video file,
    folder, camera number, RTSP or HTTP address, "browser", a runtime Source, or a function that
    opens one (and opens it again when it is lost). memory: a file to remember in; None: nothing is.

    `among`: phrases of what may be seen, which alerts are told apart from (see `when`).

    `paced` lets a file play at its own pace; by default files are watched as fast as it goes, every
    window of them. Watching begins with `start`, `wait`, or the first of `captions`, so that alerts
    and listeners are there before; `with` closes.
    """

    def __init__(
        self,
        model: Model | str | PathLike[str] | None,
        source: Place,
        memory: Memory | str | PathLike[str] | None = None,
        *,
        queries: Sequence[str] | str | None = None,
        options: StreamOptions | None = None,
        paced: bool = False,
        loop: bool = False,
        keep_thumbnails: bool = False,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        began: datetime | None = None,
        retry_s: float = 1.0,
        among: Sequence[str] = (),
    ) -> None:
        self.among = tuple(among)
        self._owns_model = not isinstance(model, Model)
        self.model = model if isinstance(model, Model) else load(model)
        about = self.model.description
        self._bundle = BundleId(about.bundle_sha256, about.name, about.embedding_width)
        texts = [queries] if isinstance(queries, str) else [*(queries or [])]
        if not texts:
            texts = [self.model.queries[0].text] if self.model.queries else ["What is happening?"]
        for text in texts:
            self.model.compile_query(text)
        self._told = _Subscribers()
        self.alerts = AlertBook(about.embedding_width)
        self._asking = threading.Lock()
        reopen, opened = self._opener(source, (options or StreamOptions()).fps or about.fps, loop)
        self.browser = opened if isinstance(opened, BrowserSource) else None
        given = options or StreamOptions()
        live = opened.live or paced
        # Live, a caption is wanted when something begins, and again when it is known whole.
        when = given.decode_when or ("both" if live else "close")
        self.watcher = Watcher(
            self.model,
            reopen,
            opened,
            Wanted(tuple(texts), given.gate),
            replace(given, emit_embeddings=True, decode_when=when),
            paced=paced,
            began_ns=None if began is None else int(began.timestamp() * 1e9),
            retry_s=retry_s,
            on_event=self._take,
            on_restart=self.alerts.restart,
            tell=self._tell,
        )
        self._callbacks = ThreadPoolExecutor(1, "vljepa-alert")
        self._callbacks_waiting = threading.Semaphore(_CALLBACKS_WAITING)
        try:
            self.memory, self._owns_memory = self._opened_memory(memory, budget_bytes)
        except BaseException:
            opened.close()
            raise
        self.keep_thumbnails = keep_thumbnails
        self._recorder: Recorder | None = None
        if self.memory is not None:
            self._recorder = Recorder(
                self.memory,
                self._bundle,
                opened.name,
                thumbnail=self._thumbnail if keep_thumbnails else None,
                on_change=lambda problem: self._tell(Remembering(problem)),
            )

    @staticmethod
    def _opener(source: Place, rate: float, loop: bool) -> tuple[Callable[[], Source], Source]:
        if isinstance(source, Source):
            return (lambda: source), source
        if callable(source):
            return source, source()
        opened = open_place(source, rate, loop)
        if isinstance(opened, BrowserSource):
            return (lambda: opened), opened
        return (lambda: open_place(source, rate, loop)), opened

    @staticmethod
    def _opened_memory(
        memory: Memory | str | PathLike[str] | None, budget_bytes: int
    ) -> tuple[Memory | None, bool]:
        if memory is None or isinstance(memory, Memory):
            return memory, False
        return Memory(Path(fspath(memory)), budget_bytes=budget_bytes), True

    def __enter__(self) -> Assistant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begins to watch, on a thread of its own; a second call does nothing."""
        self.watcher.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Watches until the source's end. False: it is watched still."""
        self.start()
        return self.watcher.wait(timeout_s)

    def close(self) -> None:
        """Stops watching, writes what is to be remembered, and lets everything go.

        A model or memory that was given open stays open.
        """
        self.watcher.stop()
        self._callbacks.shutdown()
        if self._recorder is not None:
            self._recorder.close()
        if self.memory is not None and self._owns_memory:
            self.memory.close()
        if self._owns_model:
            self.model.close()

    # ---- what it tells ----

    def subscribe(self, listener: Callable[[Told], object]) -> Callable[[], None]:
        """Calls `listener` with everything told, on the watching thread: it must not wait.

        The result ends it.
        """
        return self._told.add(listener)

    def captions(self, *, final: bool = False) -> Iterator[Caption]:
        """The gate's texts as they come; `final`: only those of segments that have ended.

        Of a file every one is given, and the file waits for whoever takes them; live, the oldest
        ones are dropped when nobody takes them. SourceError where a file turned out damaged.
        """
        waiting: queue.Queue[Caption | Watching] = queue.Queue(_CAPTIONS_WAITING)
        ended = threading.Event()

        def put(told: Told) -> None:
            over = isinstance(told, Watching) and told.state in ("ended", "failed")
            if over or (isinstance(told, Caption) and (told.final or not final)):
                self._offer(waiting, told, ended)

        unsubscribe = self.subscribe(put)
        try:
            self.start()
            while True:
                try:
                    told = waiting.get(timeout=0.2)
                except queue.Empty:
                    if not self.watcher.running and waiting.empty():
                        return  # it had ended before
                    continue
                if isinstance(told, Caption):
                    yield told
                elif told.state == "failed":
                    raise SourceError(told.text)
                else:
                    return
        finally:
            ended.set()
            unsubscribe()

    def _offer(self, waiting: queue.Queue[Any], told: object, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                waiting.put(told, timeout=0 if self.watcher.realtime else 0.2)
                return
            except queue.Full:
                if self.watcher.realtime:
                    with contextlib.suppress(queue.Empty):
                        waiting.get_nowait()

    # ---- asking ----

    def ask(self, question: str, choices: Sequence[str] | None = None) -> Answer:
        """A question about the current window: decoded, or the nearest of `choices` first."""
        if choices is not None:
            self._need_text_encoder("a question with choices")
            if not choices:
                raise AssistantError("choices is empty; leave it out for an open question")
        elif not self.model.has("y_decoder"):
            raise AssistantError("this bundle has no Y-Decoder: ask with choices")
        tap = self.watcher.tap
        frames = tap.recent
        if not frames:
            raise AssistantError("nothing was seen yet; ask again in a moment")
        with self._asking:
            matches: list[Match] = self.model.answer(tap.pictures(), question, choices, "bgr")
        return Answer(question, tuple(matches), frames[0].timestamp_ns, frames[-1].timestamp_ns)

    # ---- alerts ----

    def when(
        self,
        text: str,
        callback: Callable[[Firing], object] | None = None,
        *,
        threshold: float | None = None,
        per_hour: float = 1.0,
        hysteresis: float | None = None,
        cool_down_s: float = 10.0,
        negatives: Floats | None = None,
        among: Sequence[str] | None = None,
    ) -> Alert:
        """Calls `callback` when what is seen comes near `text`.

        `among`: phrases of what else may be seen, the more the better; it then fires when `text` is
        likelier than all of them together, and `threshold` is a probability (0.5). Otherwise the
        score is a cosine, and without a `threshold` it is told from the stream itself, so that
        ordinary windows fire `per_hour` times an hour, as soon as enough was seen; or from
        `negatives`, embeddings float32 [N, E] that the model predicted, a stride apart, where
        nothing like it happens. `among` is by default the assistant's own; () is none.
        Callbacks run one after the other on a thread of their own.
        """
        self._need_text_encoder("an alert")
        wanted = among if among is not None or negatives is not None else self.among
        embedding = self.model.embed_text([text])[0]
        about = self.model.description
        alert = self.alerts.add(
            text, embedding, callback,
            threshold=threshold, per_hour=per_hour, hysteresis=hysteresis, cool_down_s=cool_down_s,
            negatives=negatives, negatives_hz=about.fps / about.stride,
            among=self._phrases(wanted) if wanted else None,
        )  # fmt: skip
        self._tell(Settings())
        return alert

    def _phrases(self, texts: Sequence[str]) -> Phrases:
        """Embedded once for all alerts that are given the same ones."""
        wanted = tuple(dict.fromkeys(texts))
        known = next(
            (a.among for a in self.alerts.all() if a.among and a.among.texts == wanted), None
        )
        return known or Phrases(wanted, self.model.embed_text(wanted))

    def remove_alert(self, number: int) -> None:
        """Takes an alert away."""
        self.alerts.remove(number)
        self._tell(Settings())

    def set_alert_threshold(self, number: int, threshold: float | None) -> None:
        """Sets an alert's threshold; None lets the stream tell it again."""
        self.alerts.set_threshold(number, threshold)
        self._tell(Settings())

    # ---- memory ----

    def recall(
        self, text: str, *, k: int = 5, since: When = None, until: When = None
    ) -> list[Recollection]:
        """The k remembered segments nearest to `text`, best first.

        since, until: a datetime, a timedelta before now, or seconds since 1970.
        """
        if self.memory is None:
            raise AssistantError("nothing is remembered: give a memory (`--memory FILE`)")
        return recall(self.model, self.memory, text, k=k, since=since, until=until)

    @property
    def memory_problem(self) -> str:
        """Why nothing is being remembered, "" while all is well."""
        return self._recorder.problem if self._recorder is not None else ""

    # ---- queries and gate ----

    @property
    def queries(self) -> tuple[str, ...]:
        """What is asked of every window. Alerts look at the first one's embeddings."""
        return self.watcher.wanted.queries

    def add_query(self, text: str) -> None:
        """One more query, from the next window on."""
        self.model.compile_query(text)
        if text in self.queries:
            raise AssistantError(f"the query {text!r} is asked already")
        if len(self.queries) >= MOST_QUERIES:
            raise AssistantError(f"there are {MOST_QUERIES} queries already; remove one first")
        self.watcher.want(lambda wanted: replace(wanted, queries=(*wanted.queries, text)))
        self._tell(Settings())

    def remove_query(self, text: str) -> None:
        """One query less; the last one stays."""
        if text not in self.queries:
            raise AssistantError(f"there is no query {text!r}")
        if len(self.queries) == 1:
            raise AssistantError("the last query stays: add another one first")
        self.watcher.want(
            lambda wanted: replace(
                wanted, queries=tuple(query for query in wanted.queries if query != text)
            )
        )
        self._tell(Settings())

    @property
    def gate(self) -> GateOptions:
        """The gate as it is: the bundle's, or what was set."""
        return self.watcher.wanted.gate or self.model.gate

    def set_gate_threshold(self, ward_threshold: float) -> None:
        """Moves the gate's threshold; the one on variance moves along, a rate controller stops."""
        if not 0 < ward_threshold < 1e6:
            raise AssistantError(f"a gate's threshold is above 0, not {ward_threshold}")
        now = self.gate
        scale = ward_threshold / now.ward_threshold if now.ward_threshold > 0 else 1.0
        variance = now.variance_threshold
        gate = replace(
            now,
            ward_threshold=ward_threshold,
            variance_threshold=variance * scale if variance > 0 else variance,
            target_rate_hz=-1.0,
        )
        self.watcher.want(lambda wanted: replace(wanted, gate=gate))
        self._tell(Settings())

    # ---- on the watching thread ----

    def _take(self, event: Event, epoch_ns: int) -> None:
        if self._recorder is not None:
            self._recorder.take(event, epoch_ns)
        if isinstance(event, EndEvent):
            return  # of a session: the watcher tells the source's end
        self._tell(event)
        if isinstance(event, TextEvent):
            span = (event.start_ns, event.end_ns)
            final = event.reason != "onset"
            self._tell(Caption(*span, event.text, event.confidence, event.query, final))
        if isinstance(event, EmbeddingEvent) and event.query_index == 0:
            for firing in self.alerts.push(event.embedding, event.end_ns):
                self._fire(firing)

    def _fire(self, firing: Firing) -> None:
        self._tell(firing)
        callback = next((a.callback for a in self.alerts.all() if a.number == firing.alert), None)
        if callback is None:
            return
        if not self._callbacks_waiting.acquire(blocking=False):
            _log.warning("alert %r: its callbacks are too slow; one was left out", firing.text)
            return
        self._callbacks.submit(self._call, callback, firing)

    def _call(self, callback: Callable[[Firing], object], firing: Firing) -> None:
        try:
            callback(firing)
        except Exception:
            _log.exception("the callback of alert %r failed", firing.text)
        finally:
            self._callbacks_waiting.release()

    def _tell(self, told: Told) -> None:
        self._told.tell(told)

    def _thumbnail(self) -> bytes | None:
        return self.watcher.tap.newest_jpeg(160, 70)

    def _need_text_encoder(self, what: str) -> None:
        if not self.model.has("y_encoder"):
            raise AssistantError(f"{what} needs the Y-Encoder, which this bundle doesn't have")


class _Subscribers:
    """Listeners; one that fails is told to the log, and disturbs no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[int, Callable[[Told], object]] = {}
        self._next = 0

    def add(self, listener: Callable[[Told], object]) -> Callable[[], None]:
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._listeners[number] = listener

        def remove() -> None:
            with self._lock:
                self._listeners.pop(number, None)

        return remove

    def tell(self, told: Told) -> None:
        with self._lock:
            listeners = [*self._listeners.values()]
        for listener in listeners:
            try:
                listener(told)
            except Exception:
                _log.exception("a listener failed")


def recall(
    model: Model, memory: Memory, text: str, *, k: int = 5, since: When = None, until: When = None
) -> list[Recollection]:
    """`Assistant.recall` over a memory without a stream."""
    if not model.has("y_encoder"):
        raise AssistantError("recall needs the Y-Encoder, which this bundle doesn't have")
    if not 1 <= k <= 1000:
        raise AssistantError(f"k is {k}, wanted 1 to 1000")
    about = model.description
    bundle = BundleId(about.bundle_sha256, about.name, about.embedding_width)
    embedding = model.embed_text([text])[0]
    return memory.search(embedding, bundle, k, wall_ns(since), wall_ns(until))


def wall_ns(when: When) -> int | None:
    """Nanoseconds since 1970 of a datetime, a timedelta before now, or seconds since 1970."""
    if when is None:
        return None
    if isinstance(when, timedelta):
        return time.time_ns() - int(when.total_seconds() * 1e9)
    if isinstance(when, datetime):
        return int(when.timestamp() * 1e9)
    return int(when * 1e9)

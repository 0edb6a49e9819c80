"""The script of a call, as far as it is the same at all carriers: ask for a document, obey it, tell what happened."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import urljoin
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .deliveries import Courier, Delivery, Form, Kind, Options
from .state import Account

if TYPE_CHECKING:
    from .sandbox import Sandbox

GREETING_S = 2
"""What a call lasts before anybody talks. The carrier answers at once: a call's start is its answer."""
ASK_LIMIT = 10
"""Documents that a call may ask for before it counts as a loop."""
DOCUMENT_TYPES = ("text/xml", "application/xml")


@dataclass
class PlacedCall:
    """A call that is over. `status` is in the carrier's own words."""

    id: str
    carrier: str
    account: str
    number: str
    caller: str
    status: str = ""
    duration_s: int = 0
    requests: list[Delivery] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    dialed: list[str] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)
    looped: bool = False


class Route(NamedTuple):
    """Where the carrier sends a call's requests: addresses and methods; an empty address is none."""

    answer: str
    answer_method: str
    fallback: str
    fallback_method: str
    status: str
    status_method: str


class Document(NamedTuple):
    """A document to obey and the address that it came from, to which its own addresses may be relative."""

    url: str
    verbs: list[Element]

    def url_of(self, verb: Element, name: str) -> str:
        """An address in an attribute of a verb, or an empty text."""
        return urljoin(self.url, verb.get(name, "")) if verb.get(name) else ""


class Recording(NamedTuple):
    id: str
    url: str
    source: str
    channels: int
    duration_s: int
    started: datetime

    @property
    def ended(self) -> datetime:
        return self.started + timedelta(seconds=self.duration_s)


class Ended(Exception):
    """The call is over; `status` in the carrier's words, if it is not the usual one."""

    def __init__(self, status: str = "") -> None:
        super().__init__(status)
        self.status = status


class PhoneCall:
    """A call in progress. A subclass knows its carrier's documents, fields and resources.

    `verbs` are the elements that it knows, each with the name of the method that obeys it; such a method gets the
    document and the element and returns the document to go on with, or None to go on with the next element.
    Time is simulated: nothing sleeps.
    """

    route: Route
    verbs: ClassVar[dict[str, str]]
    refusals: ClassVar[tuple[str, ...]] = ()
    """Elements that, as the first of the first document, end a call that was never answered."""

    def __init__(self, sandbox: "Sandbox", account: Account, number: str, caller: str, options: Options) -> None:
        self.sandbox = sandbox
        self.account = account
        self.options = options
        self.placed = PlacedCall(self.new_call_id(), account.carrier, account.id, number, caller)
        self.started = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=GREETING_S + options.talk_s)
        self.answered = False
        self.talked_s = 0
        self.recordings: list[Recording] = []
        self._asked = 0
        self._after_the_end: list[tuple[Kind, str, str, Form]] = []
        self._courier = Courier(sandbox, account, options, self.on_delivery)
        self.placed.requests = self._courier.sent

    # What a subclass knows

    def new_call_id(self) -> str:
        raise NotImplementedError

    def find_route(self) -> Route | None:
        """Where the number sends its calls now, or None if nowhere."""
        raise NotImplementedError

    def fields(self, status: str) -> Form:
        """The fields that every request of the call has."""
        raise NotImplementedError

    def failure_fields(self, failed: Delivery) -> Form:
        """What the fallback URL is told about the request that failed."""
        return []

    def on_ringing(self) -> None:
        """The call has come in."""

    def on_answer(self) -> None:
        """The carrier has picked up."""

    def on_end(self) -> None:
        """Tell the status callback."""
        raise NotImplementedError

    def keep_call(self) -> None:
        """Put the call into the account's list."""
        raise NotImplementedError

    def new_recording(self, source: str, channels: int, duration_s: int) -> Recording:
        raise NotImplementedError

    def keep_recording(self, recording: Recording) -> None:
        raise NotImplementedError

    def on_delivery(self, form: Form, attempts: list[Delivery], began: float) -> None:
        """A request was made, once or several times; `form` has its fields."""

    # The script

    def run(self) -> PlacedCall:
        with self.sandbox.lock:
            route = self.find_route()
        if route is None:
            self._end("failed")
            return self.placed
        self.route = route
        self.on_ringing()
        self._end(self._talk_through())
        self.on_end()
        for callback in self._after_the_end:
            self.tell(*callback)
        self._courier.finish()
        return self.placed

    @property
    def ended(self) -> datetime:
        return self.started + timedelta(seconds=self.placed.duration_s)

    def _talk_through(self) -> str:
        """Obey one document after the other; returns the status with which the call ends."""
        try:
            document: Document | None = self.ask("answer", self.route.answer, self.route.answer_method)
            while document is not None:
                document = self._obey(document)
        except Ended as ended:
            return ended.status or "completed"
        return "completed"

    def _obey(self, document: Document) -> Document | None:
        for verb in document.verbs:
            if not self.answered and verb.tag not in self.refusals:
                self._answer()
            following = getattr(self, self.verbs[verb.tag])(document, verb)
            if following is not None:
                return following
        if not self.answered:
            self._answer()
        return None

    def _answer(self) -> None:
        self.answered = True
        self.on_answer()

    def _end(self, status: str) -> None:
        self.placed.status = status
        if self.answered:
            self.placed.duration_s = GREETING_S + self.talked_s
        with self.sandbox.lock:
            self.keep_call()

    def ask(self, kind: Kind, url: str, method: str = "POST", more: Form | None = None) -> Document:
        """Ask for a document; the fallback URL if that fails. Ends the call if there is none."""
        if self.options.drops(kind):
            raise Ended
        if self._asked == ASK_LIMIT:
            self.placed.looped = True
            raise Ended
        self._asked += 1
        form = self.fields("in-progress" if self.answered else "ringing") + (more or [])
        delivery = self._courier.ask(kind, url, method, form)
        verbs = self._read(delivery)
        if verbs is not None:
            return Document(url, verbs)
        if kind != "fallback" and self.route.fallback:
            failure = self.failure_fields(delivery)
            return self.ask("fallback", self.route.fallback, self.route.fallback_method, failure)
        raise Ended("" if self.answered else "failed")

    def _read(self, delivery: Delivery) -> list[Element] | None:
        """The verbs of the document in a reply, or None if it is no document that the carrier understands."""
        if not delivery.accepted or not delivery.reply_type.startswith(DOCUMENT_TYPES):
            return None
        try:
            root = ElementTree.fromstring(delivery.reply_body)  # noqa: S314 - from the webhooks under test
        except ElementTree.ParseError:
            return None
        if root.tag != "Response" or any(verb.tag not in self.verbs for verb in root):
            return None
        self.placed.documents.append(delivery.reply_body)
        return list(root)

    def tell(self, kind: Kind, url: str, method: str, form: Form) -> None:
        """Make a callback that is asked for nothing."""
        self._courier.tell(kind, url, method, form)

    def tell_after_the_end(self, kind: Kind, url: str, method: str, form: Form) -> None:
        """Make a callback after the last status callback, as recordings are ready only then."""
        self._after_the_end.append((kind, url, method, form))

    # What the caller does

    def talk(self, limit_s: int) -> int:
        """Talk, at most so long; returns for how long, in seconds. A loop makes a call no longer than it is."""
        spoken_s = min(self.options.talk_s, limit_s)
        self.talked_s = min(self.talked_s + spoken_s, self.options.talk_s)
        return spoken_s

    def record(self, source: str, channels: int, duration_s: int) -> Recording:
        recording = self.new_recording(source, channels, duration_s)
        self.recordings.append(recording)
        self.placed.recordings.append(recording.id)
        with self.sandbox.lock:
            self.account.files[recording.id] = (duration_s, channels)
            self.keep_recording(recording)
        return recording


def element_text(element: Element) -> str:
    return "".join(element.itertext()).strip()


def seconds(verb: Element, name: str, default: int) -> int:
    """A whole number in an attribute; 0 is no limit, in effect."""
    text = verb.get(name, "")
    return int(text) if text.isdigit() and int(text) else default

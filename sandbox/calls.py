"""The parts of a call that all carriers share: request a document, execute it, report what happened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import urljoin
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .deliveries import Courier, Delivery, Form, Kind, Options
from .signing import signed
from .state import Account
from .streams import FRAMES_PER_S, Messages, PlacedStream, StreamFailed, exchange, open_connection
from .targets import SIP, TAKEN, Outcome, key
from .voices import language_of

if TYPE_CHECKING:
    from .sandbox import Sandbox

GREETING_S = 2
"""How long a call lasts before anyone talks. The carrier answers immediately: a call's start is its answer."""
ASK_LIMIT = 10
"""The number of documents that a call may request before it counts as a loop."""
DOCUMENT_TYPES = ("text/xml", "application/xml")


@dataclass
class PlacedCall:
    """A call that has ended. `status` is the carrier's own term."""

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
    languages: list[str] = field(default_factory=list)
    """The language of each text in `spoken`."""
    dialed: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    """What happened at each target in `dialed`."""
    streams: list[PlacedStream] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)
    looped: bool = False


class Route(NamedTuple):
    """Where the carrier sends a call's requests: URLs and methods; an empty URL means none."""

    answer: str
    answer_method: str
    fallback: str
    fallback_method: str
    status: str
    status_method: str


class Document(NamedTuple):
    """A document to execute and the URL it came from, which resolves its relative URLs."""

    url: str
    verbs: list[Element]

    def url_of(self, verb: Element, name: str) -> str:
        """The absolute URL in an attribute of a verb; empty if the attribute is missing."""
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
    """The call has ended; `status` is the carrier's term for it, empty for the usual status."""

    def __init__(self, status: str = "") -> None:
        super().__init__(status)
        self.status = status


class PhoneCall:
    """A call in progress. A subclass implements its carrier's documents, fields and resources.

    `verbs` maps each supported element to the name of the method that executes it. That method receives the document
    and the element, and returns the next document, or None to continue with the next element.
    Time is simulated: nothing sleeps. A call starts now, because an earlier one may be of the time before the number
    was ours, and so it ends in the future.
    """

    route: Route
    verbs: ClassVar[dict[str, str]]
    refusals: ClassVar[tuple[str, ...]] = ()
    """Elements that end the call unanswered if they come first in the first document."""
    speech: ClassVar[str]
    """The element whose text is spoken."""

    def __init__(self, sandbox: "Sandbox", account: Account, number: str, caller: str, options: Options) -> None:
        self.sandbox = sandbox
        self.account = account
        self.options = options
        self.placed = PlacedCall(self.new_call_id(), account.carrier, account.id, number, caller)
        self.started = datetime.now(UTC).replace(microsecond=0)
        self.answered = False
        self.talked_s = 0
        self.recordings: list[Recording] = []
        self._asked = 0
        self._after_the_end: list[tuple[Kind, str, str, Form]] = []
        self._courier = Courier(sandbox, account, options, self.on_delivery)
        self.placed.requests = self._courier.sent

    # Implemented by subclasses

    def new_call_id(self) -> str:
        raise NotImplementedError

    def find_route(self) -> Route | None:
        """The number's current route; None if it has none."""
        raise NotImplementedError

    def fields(self, status: str) -> Form:
        """The fields of every request of the call."""
        raise NotImplementedError

    def failure_fields(self, failed: Delivery) -> Form:
        """Additional fields for the fallback URL, about the failed request."""
        return []

    def on_ringing(self) -> None:
        """Called when the call comes in."""

    def on_answer(self) -> None:
        """Called when the carrier has answered."""

    def on_end(self) -> None:
        """Send the status callback."""
        raise NotImplementedError

    def keep_call(self) -> None:
        """Add the call to the account's list."""
        raise NotImplementedError

    def new_recording(self, source: str, channels: int, duration_s: int) -> Recording:
        raise NotImplementedError

    def keep_recording(self, recording: Recording) -> None:
        raise NotImplementedError

    def sign_handshake(self) -> bool:
        """Whether the carrier signs the handshake of a stream as it does its other requests."""
        return False

    def on_delivery(self, form: Form, attempts: list[Delivery], began: float) -> None:
        """Called after a request was sent, once or several times; `form` holds its fields."""

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
        """Execute documents until the call ends; returns its final status."""
        try:
            document: Document | None = self.ask("answer", self.route.answer, self.route.answer_method)
            while document is not None:
                document = self._obey(document)
        except Ended as ended:
            return ended.status or "completed"
        return "completed"

    def _obey(self, document: Document) -> Document | None:
        for verb in document.verbs:
            if not self.answered and not self.leaves_ringing(verb):
                self.answer()
            following = getattr(self, self.verbs[verb.tag])(document, verb)
            if following is not None:
                return following
        if not self.answered:
            self.answer()
        return None

    def leaves_ringing(self, verb: Element) -> bool:
        """Whether the call need not be answered before this element is executed."""
        return verb.tag in self.refusals

    def answer(self) -> None:
        self.answered = True
        self.on_answer()

    def _end(self, status: str) -> None:
        self.placed.status = status
        if self.answered:
            self.placed.duration_s = GREETING_S + self.talked_s
        with self.sandbox.lock:
            self.keep_call()

    def ask(self, kind: Kind, url: str, method: str = "POST", more: Form | None = None) -> Document:
        """Request a document, from the fallback URL if the first request fails. Raises Ended if neither returns one."""
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
        """The verbs of the document in a reply; None if the carrier would not accept it."""
        if not delivery.accepted or not delivery.reply_type.startswith(DOCUMENT_TYPES):
            return None
        try:
            root = ElementTree.fromstring(delivery.reply_body)  # noqa: S314 - from the webhooks under test
        except ElementTree.ParseError:
            return None
        if root.tag != "Response" or any(verb.tag not in self.verbs for verb in root):
            return None
        if not all(self._language(verb) for verb in root.iter(self.speech)):
            return None
        self.placed.documents.append(delivery.reply_body)
        return list(root)

    def _language(self, verb: Element) -> str | None:
        return language_of(self.account.carrier, verb.get("voice", ""), verb.get("language", ""))

    def tell(self, kind: Kind, url: str, method: str, form: Form) -> None:
        """Send a callback whose reply is ignored."""
        self._courier.tell(kind, url, method, form)

    def tell_after_the_end(self, kind: Kind, url: str, method: str, form: Form) -> None:
        """Send a callback after the last status callback, because recordings are ready only then."""
        self._after_the_end.append((kind, url, method, form))

    # What the carrier does

    def speak(self, document: Document, verb: Element) -> None:
        self.placed.spoken.append(element_text(verb))
        self.placed.languages.append(self._language(verb) or "")

    def ring(self, address: str, timeout_s: int) -> Outcome:
        """Dial a number or a SIP address. Of those that the sandbox does not know, a number does what the call's
        `forward_answers` says, and a SIP address cannot be reached."""
        with self.sandbox.lock:
            target = self.sandbox.targets.get(key(address))
        if target:
            outcome = target.within(timeout_s)
        elif SIP.match(address):
            outcome = "fails"
        else:
            outcome = "answers" if self.options.forward_answers else "rings out"
        self.placed.dialed.append(address)
        self.placed.outcomes.append(outcome)
        return outcome

    def stream(self, url: str, messages: Messages, tell: Callable[[str, str], None], *, refusal: str = "") -> bool:
        """Connect the caller with a voice system until either of them ends it. Returns whether the caller did.

        Args:
            tell: reports what happens, and why if it failed: started, stopped or failed.
            refusal: why the carrier does not try to connect.
        """
        placed = PlacedStream(url)
        self.placed.streams.append(placed)
        headers = signed(self.account, url, [])[1] if self.sign_handshake() else {}
        by_caller = False
        try:
            if refusal:
                raise StreamFailed(refusal)
            connection = open_connection(url, self.sandbox.hosts, headers)
            placed.connected = True
            tell("started", "")
            by_caller = exchange(connection, messages, self.options.talk_s - self.talked_s, placed)
        except StreamFailed as failure:
            placed.failure = str(failure)
        self.talk(placed.sent // FRAMES_PER_S)
        tell("failed" if placed.failure else "stopped", placed.failure)
        return by_caller

    # What the caller does

    def talk(self, limit_s: int) -> int:
        """Talk for at most `limit_s`; returns the seconds talked. A loop does not extend the call beyond `talk_s`."""
        spoken_s = min(self.options.talk_s, limit_s)
        self.talked_s = min(self.talked_s + spoken_s, self.options.talk_s)
        return spoken_s

    def talk_to(self, outcome: Outcome, limit_s: int) -> int:
        """Talk to a dialed target; returns the seconds talked, 0 if it did not answer."""
        if outcome not in TAKEN:
            return 0
        return self.talk(limit_s if outcome == "answers" else min(limit_s, max(self.options.talk_s // 2, 1)))

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
    """A whole number in an attribute; `default` if it is missing, invalid or 0."""
    text = verb.get(name, "")
    return int(text) if text.isdigit() and int(text) else default

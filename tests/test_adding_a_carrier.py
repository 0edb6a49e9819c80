"""docs/adding-a-carrier.md is true: carriers are named where it sends whoever adds one, and hardly anywhere else."""

import ast
import re
import subprocess
from collections.abc import Collection, Iterator
from typing import NamedTuple

import pytest

from integrations import PROVIDERS
from tests.live.doors import DOORS
from tests.live.facts import FACTS
from tests.support import PROJECT
from tests.support.carriers import CARRIERS
from tests.support.checking import FIELDS
from tests.support.dialects import DIALECTS
from tests.support.drifts import DRIFTS, HOPELESS, REASONS
from tests.support.entries import ENTRIES
from tests.support.faults import FIRST, KNOWN, UNDO
from tests.support.removal import ROUTES
from tests.support.removal_faults import STEPS

PAGE = "docs/adding-a-carrier.md"
CARRIER = re.compile("|".join(PROVIDERS), re.IGNORECASE)

# Where whoever adds a carrier writes its name: a folder, a file, or one name at the top of a file.
TOUCHED = {
    **{
        f"integrations/{name}/": "the carrier itself, which is what makes it different from the others"
        for name in PROVIDERS
    },
    "integrations/__init__.py": "the registry: what is known of a carrier before its module is loaded",
    "workspace/settings.py: CARRIER_API_URLS": "where its API is, and the variable that points elsewhere",
    "requirements.in": "its SDK",
    "requirements.txt": "its SDK, locked",
    "pyproject.toml": "the contract that no carrier imports another",
    "sandbox/": "the simulated carrier and its seeds",
    "tests/support/": "its facts, and its part of the tables of cases",
}
# What names carriers and needs nothing from a new one.
UNTOUCHED = {
    "integrations/twiml.py": "is written with the SDK of the carrier that TwiML comes from",
    "workspace/settings.py: SPECTACULAR_SETTINGS": "says in a sentence what the product is for",
    "phones/migrations/0001_initial.py": "has the carriers that there were then",
    "phones/migrations/0008_signed_and_refused.py": "changes rows of one carrier",
    "phones/api/serializers.py: AddPhoneSerializer": "has the help texts of the public page, to the letter",
    "phones/api/openapi.py": "has examples, each of one carrier",
    "bench/": "measures a carrier where there is something to measure",
    "deploy/sandbox.yaml": "points an installation at the sandbox",
}
# Prose, lists of facts from elsewhere, and payloads, which may say anything.
READ_BY_PEOPLE = re.compile(r"\.md$|^docs/|^tests/(samples|carrier_specs|early|mutants)/|\.(png|svg)$")
# Tests that list carriers because they are about each of them in turn.
ABOUT_EACH = {
    "tests/test_sandbox.py": "what each simulated carrier answers is its own",
    "tests/live/doors.py": "how each carrier places a call and tells of webhooks is its own",
    "tests/test_answers.py": "what each carrier's documents may have is its own",
    "tests/test_sandbox_calls.py": "what each simulated carrier sends is its own",
    "tests/test_sandbox_streams.py": "how each simulated carrier streams is its own",
}

pytestmark = pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="walks the tracked files")


class Spot(NamedTuple):
    """Where a carrier is named. `top` is the name at the top of the file that it belongs to, if it is Python."""

    path: str
    top: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"

    def is_in(self, places: Collection[str]) -> bool:
        return bool({self.path, f"{self.path}: {self.top}"} & {*places}) or self.path.startswith(
            tuple(place for place in places if place.endswith("/"))
        )


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [
        path for path in listed.split("\0") if path and not READ_BY_PEOPLE.search(path) and (PROJECT / path).exists()
    ]


def tops(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The statements of a file, each with the name that it gives to something."""
    for statement in tree.body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, statement
            case _:
                yield "", statement


def words(node: ast.AST) -> Iterator[str]:
    """The identifiers and texts that stand in a node itself, not in those below it."""
    match node:
        case ast.Constant(value=str(text)) | ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text):
            yield text
        case ast.keyword(arg=str(text)) | ast.ImportFrom(module=str(text)):
            yield text
        case ast.ClassDef(name=text) | ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text):
            yield text
        case ast.alias(name=text, asname=other):
            yield from (text, other or "")


def named_in_python(path: str, source: str) -> Iterator[Spot]:
    tree = ast.parse(source)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = {id(value) for value in statements if isinstance(value, ast.Constant)}
    for top, statement in tops(tree):
        for node in ast.walk(statement):
            if id(node) in docstrings:
                continue
            for word in words(node):
                if CARRIER.search(word):
                    yield Spot(path, top, getattr(node, "lineno", statement.lineno), word)


def named_in(path: str, source: str) -> Iterator[Spot]:
    """Where the text of a file names a carrier, and the path itself if it does."""
    if CARRIER.search(path):
        yield Spot(path, "", 0, path)
    if path.endswith(".py"):
        yield from named_in_python(path, source)
        return
    for number, line in enumerate(source.splitlines(), 1):
        if CARRIER.search(line):
            yield Spot(path, "", number, line.strip())


def carrier_of(node: ast.AST | None) -> str:
    """The carrier that an element of a list stands for: it is its name, or the first thing in it is."""
    match node:
        case ast.Constant(value=str(text)) | ast.Name(id=text) | ast.Attribute(attr=text):
            return text.lower() if text.lower() in PROVIDERS else ""
        case ast.Tuple(elts=[first, *_]) | ast.List(elts=[first, *_]) | ast.MatchValue(value=first):
            return carrier_of(first)
        case ast.Call(args=arguments):
            return next(filter(None, map(carrier_of, arguments)), "")
    return ""


def lists_in(source: str) -> Iterator[tuple[int, set[str]]]:
    """The literals that enumerate carriers: the line of each, and the carriers."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Dict(keys=elements):
                named = {carrier_of(element) for element in elements}
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                named = {carrier_of(element) for element in elements}
            case ast.Call(keywords=keywords):
                named = {word.arg or "" for word in keywords} & PROVIDERS.keys()
            case ast.Match(cases=cases):
                named = {carrier_of(case.pattern) for case in cases}
            case _:
                continue
        if len(named - {""}) > 1:
            yield node.lineno, named - {""}


# -- the tracked files ------------------------------------------------------------------------------------------------


def test_a_carrier_is_named_in_no_other_place() -> None:
    spots = [
        spot
        for path in tracked()
        if not path.startswith("tests/")
        for spot in named_in(path, (PROJECT / path).read_text())
    ]
    elsewhere = [str(spot) for spot in spots if not spot.is_in(TOUCHED | UNTOUCHED)]
    assert not elsewhere, "\n".join([f"Not among the places of {PAGE}:", *elsewhere])
    stale = [
        place
        for place in TOUCHED | UNTOUCHED
        if place != "tests/support/" and not any(spot.is_in({place}) for spot in spots)
    ]
    assert not stale, "no carrier is named here any more"


def test_the_page_names_each_place_that_a_new_carrier_touches() -> None:
    page = (PROJECT / PAGE).read_text()
    folders = {f"integrations/{name}/" for name in PROVIDERS}
    places = {part for place in TOUCHED.keys() - folders for part in place.split(": ")} | {"integrations/<name>/"}
    assert [place for place in sorted(places) if f"`{place}" not in page] == []


def test_no_test_enumerates_carriers() -> None:
    found = [
        f"{path}:{line}: {', '.join(sorted(carriers))}"
        for path in tracked()
        if path.endswith(".py") and path.startswith("tests/")
        if not path.startswith("tests/support/") and path not in ABOUT_EACH
        for line, carriers in lists_in((PROJECT / path).read_text())
    ]
    assert not found, "\n".join(["Take CARRIERS or a fact of tests/support/carriers.py:", *found])


@pytest.mark.parametrize(
    "covered",
    [
        pytest.param(CARRIERS, id="tests/support/carriers.py"),
        pytest.param(FIELDS, id="checking.FIELDS"),
        pytest.param(REASONS, id="drifts.REASONS"),
        pytest.param({one.integration for one in DRIFTS}, id="drifts.DRIFTS"),
        pytest.param({one.integration for one in HOPELESS}, id="drifts.HOPELESS"),
        pytest.param({one.carrier for one in DIALECTS.values()}, id="dialects.DIALECTS"),
        pytest.param(ENTRIES, id="entries.ENTRIES"),
        pytest.param({fact.carrier for fact in FACTS}, id="live.FACTS"),
        pytest.param(DOORS, id="live.DOORS"),
        pytest.param(FIRST, id="faults.FIRST"),
        pytest.param(KNOWN, id="faults.KNOWN"),
        pytest.param(UNDO, id="faults.UNDO"),
        pytest.param({one.good.integration for one in ROUTES.values()}, id="removal.ROUTES"),
        pytest.param(STEPS, id="removal_faults.STEPS"),
    ],
)
def test_no_table_of_cases_lacks_a_carrier(covered: Collection[str]) -> None:
    assert PROVIDERS.keys() <= {*covered}


# -- what is found ----------------------------------------------------------------------------------------------------

SOME, OTHER = sorted(PROVIDERS)[:2]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("x.py", f"import {SOME}"),
        ("x.py", f"from integrations.{SOME}.provider import Provider"),
        ("x.py", f"def is_{SOME}(): ..."),
        ("x.py", f"def f({SOME}_id): ..."),
        ("x.py", f"f({SOME}=1)"),
        ("x.py", f"one.{SOME}_url"),
        ("x.py", f"one == '{SOME}'"),
        ("x.py", f"f'{{one}} at {SOME.title()}'"),
        ("x.css", f".{SOME} {{ color: red; }}"),
        ("x.html", f"{{% if carrier == '{SOME}' %}}"),
        (f"docs/{SOME}.toml", ""),
    ],
)
def test_a_name_is_found(path: str, source: str) -> None:
    assert list(named_in(path, source))


def test_docstrings_and_comments_may_name_a_carrier() -> None:
    source = f'"""Of {SOME}."""\n# {SOME}\ndef f():\n    """{SOME}"""\nclass A:\n    b = 1\n    """{SOME}"""\n'
    assert list(named_in("x.py", source)) == []


def test_a_place_may_be_one_name_of_a_file() -> None:
    (inside, outside) = named_in("x.py", f"A = '{SOME}'\nB: str = '{SOME}'\n")
    assert inside.is_in({"x.py: A"}) and not outside.is_in({"x.py: A"})
    assert outside.is_in({"x.py"}) and not outside.is_in({"y/"})


@pytest.mark.parametrize(
    "source",
    [
        f"['{SOME}', '{OTHER}']",
        f"({SOME.upper()}, seeds.{OTHER.upper()})",
        f"{{'{SOME}': 1, '{OTHER}': 2}}",
        f"dict({SOME}=1, {OTHER}=2)",
        f"[('{SOME}', 1), Case({OTHER.upper()}, 2)]",
        f"match one:\n    case '{SOME}': ...\n    case '{OTHER}': ...",
    ],
)
def test_a_list_is_found(source: str) -> None:
    assert [carriers for _, carriers in lists_in(source)] == [{SOME, OTHER}]


@pytest.mark.parametrize("source", [f"['{SOME}', '{SOME}']", f"['{SOME}-x', '{OTHER}-y']", f"'{SOME}'\n'{OTHER}'"])
def test_a_test_about_one_carrier_is_no_list(source: str) -> None:
    assert list(lists_in(source)) == []

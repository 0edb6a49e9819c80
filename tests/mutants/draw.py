"""Mutations of the product, drawn at random."""

import ast
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# Services, providers, webhooks, API and desk.
SCOPE = (
    "integrations/**/*.py", "users/*.py", "users/staff/*.py",
    "phones/*.py", "phones/services/*.py", "phones/bulk/*.py", "phones/api/*.py", "phones/desk/*.py",
)  # fmt: skip

Place = tuple[str, tuple[int, int], tuple[int, int]]  # file, start and end as (line, column)


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    operator: str
    before: str
    after: str
    code: str  # the whole file, mutated

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def change(self) -> tuple[str, str, str]:
        return self.file, self.before, self.after


def files(root: Path) -> list[str]:
    return sorted({str(path.relative_to(root)) for glob in SCOPE for path in root.glob(glob)})


def places(root: Path) -> dict[Place, list[tuple[str, int]]]:
    """Everywhere the product can be mutated, with the operators that apply there: (name, occurrence in the file)."""
    operators = {name: get_operator(name)() for name in operator_names() if not get_operator(name).arguments()}
    found: dict[Place, list[tuple[str, int]]] = {}
    for file in files(root):
        nodes = list(ast_nodes(get_ast((root / file).read_text())))
        for name, operator in operators.items():
            positions = (position for node in nodes for position in operator.mutation_positions(node))
            for occurrence, (start, end) in enumerate(positions):
                found.setdefault((file, start, end), []).append((name, occurrence))
    return found


def draw(root: Path, found: dict[Place, list[tuple[str, int]]], seed: int) -> Iterator[Mutant]:
    """Mutants in random order, one for each place.

    Places are drawn, not mutations: a binary operator has eleven mutations, `if` has one, and nearly all of the
    eleven are the same TypeError.
    """
    chance = random.Random(seed)
    order = sorted(found)
    chance.shuffle(order)
    for place in order:
        operator, occurrence = chance.choice(found[place])
        mutant = mutated(root, place, operator, occurrence)
        if mutant:
            yield mutant


def mutated(root: Path, place: Place, operator: str, occurrence: int) -> Mutant | None:
    """The mutant, or None if Python refuses it or it differs only in what no test is about."""
    file, (line, _), _ = place
    source = (root / file).read_text()
    code = mutate_code(source, get_operator(operator)(), occurrence)
    try:
        if meaning(code) == meaning(source):
            return None
    except SyntaxError:
        return None
    before, after = changed_lines(source, code)
    return Mutant(file=file, line=line, operator=operator.removeprefix("core/"), before=before, after=after, code=code)


def changed_lines(source: str, code: str) -> tuple[str, str]:
    old, new = source.splitlines(), code.splitlines()
    changes = [c for c in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if c[0] != "equal"]
    before = [line for _, start, end, _, _ in changes for line in old[start:end]]
    after = [line for _, _, _, start, end in changes for line in new[start:end]]
    return " ".join(" ".join(before).split()), " ".join(" ".join(after).split())


def meaning(source: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python itself objects to `x is "text"`
        compile(source, "mutant", "exec")
        return ast.dump(WhatRuns().visit(ast.parse(source)))


class WhatRuns(ast.NodeTransformer):
    """Drops what no test is about: type hints, imports, docstrings and log lines."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        match node.value:
            case ast.Constant() | ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
                return ast.Pass()
        return self.generic_visit(node)

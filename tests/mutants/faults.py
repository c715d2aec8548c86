"""Faults that can be planted in a source text: one small change each, at exact columns, no line moved."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path

FLIPPED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
FLIPPED |= {"in": "not in", "not in": "in"}
OFF_BY_ONE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "**": "*", "%": "*"}
# Words of people, and what only the looks of a picture or the speed of a program depend on.
SILENT = {"help", "description", "doc", "strict", "frozen", "slots", "maxsize", "stacklevel", "encoding"}
SILENT |= {"alpha", "color", "dpi", "figsize", "fontsize", "linewidth", "lw", "markersize", "pad", "s", "zorder"}
SYMMETRIC = {"max", "min", "maximum", "minimum", "add", "multiply", "logical_and", "logical_or", "logical_xor", "union"}
SYMMETRIC |= {"allclose", "isclose", "array_equal", "equal", "not_equal", "hypot", "broadcast_shapes", "gcd"}
TYPED = {"isinstance", "issubclass", "getattr", "hasattr", "setattr", "cast", "NamedTuple", "TypeVar", "warn"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault: bytes `start` to `end` of a file become `new`.

    Attributes:
      scope: the qualified name of the function or class, "<module>" outside all.
      number: counts the faults of one kind in a scope, from 1.
      change: the expression or statement before and after.
      statement: the first and last line of the statement, without the body of a compound one.
      function: the first and last line of the outermost function; None for what runs at import.
    """

    path: str
    scope: str
    kind: str
    number: int
    line: int
    change: str
    start: int
    end: int
    new: str
    statement: tuple[int, int]
    function: tuple[int, int] | None

    @property
    def id(self) -> str:
        return f"{self.path}::{self.scope}::{self.kind}::{self.number}"


def plant(mutant: Mutant, source: str) -> str:
    """Returns the source with the fault; a change over several lines leaves as many."""
    text = source.encode()
    lost = text[mutant.start : mutant.end].count(b"\n") - mutant.new.encode().count(b"\n")
    for ending in ("\n", " \\\n"):  # within brackets or at the end of a statement, and elsewhere
        new = (mutant.new + ending * lost).encode()
        planted = (text[: mutant.start] + new + text[mutant.end :]).decode()
        try:
            differs = ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))
        except SyntaxError:
            continue
        if differs:
            return planted
    raise ValueError(f"{mutant.id} leaves no other program: {mutant.change}")


def faults(path: str, source: str) -> list[Mutant]:
    """Returns every fault that can be planted in a file, in the order of the source."""
    found = _Finder(path, source)
    found.walk(ast.parse(source))
    numbers: Counter[tuple[str, str]] = Counter()
    numbered = []
    for mutant in sorted(found.mutants, key=lambda mutant: (mutant.start, mutant.end)):
        key = mutant.scope, mutant.kind
        numbers[key] += 1
        numbered.append(dataclasses.replace(mutant, number=numbers[key]))
    return numbered


def read_faults(root: Path, path: str) -> list[Mutant]:
    """Returns the faults of a file of the repository, none where there is no such file."""
    file = root / path
    return faults(path, file.read_text(encoding="utf-8")) if file.exists() else []


def look_up(root: Path, identity: str, change: str) -> Mutant | None:
    """Returns the fault of an id, or the first with this change in the same scope; None if neither is left."""
    path, scope, kind, _ = identity.split("::")
    same = [mutant for mutant in read_faults(root, path) if (mutant.scope, mutant.kind) == (scope, kind)]
    same = [mutant for mutant in same if mutant.change == change]
    return next((mutant for mutant in same if mutant.id == identity), same[0] if same else None)


class _Finder:
    """Walks a syntax tree, past annotations, messages of errors and other words, and notes what can be changed."""

    def __init__(self, path: str, source: str):
        self.path, self.text = path, source.encode()
        self.begins = [0, *itertools.accumulate(map(len, self.text.splitlines(keepends=True)))]
        self.mutants: list[Mutant] = []
        self.scope: list[str] = []
        self.function: tuple[int, int] | None = None
        self.statement = (0, 0)

    def span(self, node: ast.AST) -> tuple[int, int]:
        begin = self.begins[node.lineno - 1] + node.col_offset
        return begin, self.begins[node.end_lineno - 1] + node.end_col_offset

    def note(self, kind: str, start: int, end: int, new: str, shown: ast.AST) -> None:
        first, last = self.span(shown)
        texts = self.text[first:last], self.text[first:start] + new.encode() + self.text[end:last]
        change = " -> ".join(" ".join(text.decode().split()) for text in texts)
        line = self.text.count(b"\n", 0, start) + 1
        scope = ".".join(self.scope) or "<module>"
        mutant = Mutant(self.path, scope, kind, 0, line, change, start, end, new, self.statement, self.function)
        self.mutants.append(mutant)

    def between(self, kinds: dict[str, dict[str, str]], left: ast.AST, right: ast.AST, shown: ast.AST) -> None:
        """Note what the operator between two expressions can become, by kind."""
        begin, end = self.span(left)[1], self.span(right)[0]
        words = r"\bnot\s+in\b|\bis\s+not\b|\b(?:in|is|and|or)\b|[<>=!]=|\*\*|//|[-+*/%<>]"
        operator = re.search(words, self.text[begin:end].decode())
        if operator:
            start = begin + operator.start()
            for kind, table in kinds.items():
                new = table.get(" ".join(operator[0].split()))
                if new:
                    self.note(kind, start, start + len(operator[0]), new, shown)

    def inside(self, node: ast.AST) -> None:
        """Walk the body of a function or class; its decorators, bases and defaults belong to what lies around."""
        outer = self.function, self.statement
        self.scope.append(node.name)
        if not isinstance(node, ast.ClassDef):
            self.function = self.function or (node.body[0].lineno, node.end_lineno)
        for child in node.body:
            self.walk(child)
        self.scope.pop()
        self.function, self.statement = outer

    def walk(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
            self.statement = (node.lineno, last)
        match node:
            case ast.FunctionDef(args=given) | ast.AsyncFunctionDef(args=given):
                children = [*node.decorator_list, *given.defaults, *filter(None, given.kw_defaults)]
            case ast.ClassDef():
                children = [*node.decorator_list, *node.bases, *node.keywords]
            case ast.Raise() | ast.JoinedStr() | ast.If(test=ast.Name("TYPE_CHECKING")):
                return
            case ast.If(test=ast.Compare(left=ast.Name("__name__"))) | ast.Assign(targets=[ast.Name("__all__")]):
                return
            case ast.Subscript(value=ast.Name("Literal" | "Annotated")):
                return
            case ast.AnnAssign():
                children = [node.value] if node.value else []
            case ast.keyword():
                children = [] if node.arg in SILENT else [node.value]
            case ast.Call() if _name(node) in TYPED:
                return
            case _:
                children = list(ast.iter_child_nodes(node))
        self.notes(node)
        for child in children:
            self.walk(child)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.inside(node)

    def notes(self, node: ast.AST) -> None:
        match node:
            case ast.Compare():
                for left, right in itertools.pairwise([node.left, *node.comparators]):
                    self.between({"flip": FLIPPED, "off-by-one": OFF_BY_ONE}, left, right, node)
            case ast.BoolOp():
                for left, right in itertools.pairwise(node.values):
                    self.between({"connective": {"and": "or", "or": "and"}}, left, right, node)
            case ast.BinOp(left=left, right=right) if not any(map(_text_or_list, (left, right))):
                self.between({"operator": ARITHMETIC}, left, right, node)
            case ast.AugAssign():
                self.between({"operator": ARITHMETIC}, node.target, node.value, node)
            case ast.UnaryOp(op=ast.USub() | ast.Not()):
                start = self.span(node)[0]
                self.note("unary", start, start + (1 if isinstance(node.op, ast.USub) else 3), "", node)
            case ast.Constant(value=bool()):
                self.note("constant", *self.span(node), repr(not node.value), node)
            case ast.Constant(value=int()):
                self.note("constant", *self.span(node), repr(node.value + 1), node)
            case ast.Constant(value=float()):
                self.note("constant", *self.span(node), repr(node.value * 1.5 or 1.0), node)
            case ast.If() | ast.IfExp():
                for kind, new in (("always", "True"), ("never", "False")):
                    self.note(kind, *self.span(node.test), new, node.test)
            case ast.While() if not isinstance(node.test, ast.Constant):
                self.note("never", *self.span(node.test), "False", node.test)
            case ast.comprehension():
                for test in node.ifs:
                    self.note("always", *self.span(test), "True", test)
            case ast.Return(value=value) if value and not isinstance(value, ast.Constant):
                self.note("nothing", *self.span(value), "None", node)
            case ast.Call(args=[_, _, *_]) if _name(node) not in SYMMETRIC:
                self.swaps(node)
        stored = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if stored or called or isinstance(node, ast.AugAssign):
            self.note("dropped", *self.span(node), "pass", node)

    def swaps(self, node: ast.Call) -> None:
        for left, right in itertools.pairwise(node.args):
            (start, middle), (begin, end) = self.span(left), self.span(right)
            first, gap, second = (self.text[a:b].decode() for a, b in ((start, middle), (middle, begin), (begin, end)))
            starred = any(isinstance(argument, ast.Starred | ast.GeneratorExp) for argument in (left, right))
            if not starred and first != second:
                self.note("swapped", start, end, second + gap + first, node)


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _text_or_list(node: ast.AST) -> bool:
    """Whether + would join these: text of messages, or lists, for which - is an error at once."""
    if isinstance(node, ast.BinOp):
        return _text_or_list(node.left) or _text_or_list(node.right)
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.JoinedStr | ast.List | ast.ListComp | ast.Tuple)

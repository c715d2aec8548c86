"""Faults that can be planted in a source text: one small change each, at exact columns, no line moved."""

import ast
import dataclasses
import itertools
import re
from collections import Counter

FLIPPED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
FLIPPED |= {"in": "not in", "not in": "in"}
COMPARED = {"flip": FLIPPED, "off-by-one": {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}}
ARITHMETIC = {"operator": {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "**": "*", "%": "*"}}
CONNECTED = {"connective": {"and": "or", "or": "and"}}
OPERATOR = re.compile(r"\bnot\s+in\b|\bis\s+not\b|\b(?:in|is|and|or)\b|[<>=!]=|\*\*|//|[-+*/%<>]")
# Left alone: words for people, what only the looks of a picture or the speed depend on, and what errs at once.
SILENT = {"help", "description", "doc", "strict", "frozen", "slots", "maxsize", "stacklevel", "encoding"}
SILENT |= {"alpha", "color", "dpi", "figsize", "fontsize", "linewidth", "lw", "markersize", "pad", "s", "zorder"}
SYMMETRIC = {"max", "min", "maximum", "minimum", "add", "multiply", "logical_and", "logical_or", "logical_xor", "union"}
SYMMETRIC |= {"allclose", "isclose", "array_equal", "equal", "not_equal", "hypot", "broadcast_shapes", "gcd"}
TYPED = {"isinstance", "issubclass", "getattr", "hasattr", "setattr", "cast", "NamedTuple", "TypeVar", "warn"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault: bytes `start` to `end` of a file become `new`; `change` shows the expression before and after.

    `number` counts the faults of one kind in a `scope`, a function or class. `statement` and `function` are first and
    last lines: of the statement (without the body of a compound one), and of the outermost function (None at import).
    """

    path: str
    scope: str
    kind: str
    line: int
    change: str
    start: int
    end: int
    new: str
    statement: tuple[int, int]
    function: tuple[int, int] | None
    number: int = 0

    @property
    def id(self):
        return f"{self.path}::{self.scope}::{self.kind}::{self.number}"


def plant(mutant: Mutant, source: str) -> str:
    """Returns the source with the fault; a change over several lines leaves as many."""
    text = source.encode()
    lost = text[mutant.start : mutant.end].count(b"\n") - mutant.new.encode().count(b"\n")
    for ending in ("\n", " \\\n"):  # within brackets or at the end of a statement, and elsewhere
        new = (mutant.new + ending * lost).encode()
        planted = (text[: mutant.start] + new + text[mutant.end :]).decode()
        try:
            if ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source)):
                return planted
        except SyntaxError:
            continue
    raise ValueError(f"{mutant.id} leaves no other program: {mutant.change}")


def faults(path: str, source: str) -> list[Mutant]:
    """Returns every fault that can be planted in a file, in the order of the source."""
    finder = _Finder(path, source)
    finder.walk(ast.parse(source))
    numbers = Counter()
    found = []
    for mutant in sorted(finder.mutants, key=lambda mutant: (mutant.start, mutant.end)):
        numbers[mutant.scope, mutant.kind] += 1
        found.append(dataclasses.replace(mutant, number=numbers[mutant.scope, mutant.kind]))
    return found


class _Finder:
    """Walks a syntax tree, past annotations, messages of errors and other words, and notes what can be changed."""

    def __init__(self, path: str, source: str):
        self.path, self.text = path, source.encode()
        self.begins = [0, *itertools.accumulate(map(len, self.text.splitlines(keepends=True)))]
        self.mutants, self.scope, self.function, self.statement = [], [], None, (0, 0)

    def span(self, node):
        begin = self.begins[node.lineno - 1] + node.col_offset
        return begin, self.begins[node.end_lineno - 1] + node.end_col_offset

    def note(self, kind, start, end, new, shown):
        first, last = self.span(shown)
        texts = self.text[first:last], self.text[first:start] + new.encode() + self.text[end:last]
        change = " -> ".join(" ".join(text.decode().split()) for text in texts)
        line, scope = self.text.count(b"\n", 0, start) + 1, ".".join(self.scope) or "<module>"
        found = Mutant(self.path, scope, kind, line, change, start, end, new, self.statement, self.function)
        self.mutants.append(found)

    def between(self, kinds, operands, shown):
        """Notes what the operators between neighbouring operands can become, by kind."""
        for left, right in itertools.pairwise(operands):
            begin, end = self.span(left)[1], self.span(right)[0]
            found = OPERATOR.search(self.text[begin:end].decode())
            for kind, table in kinds.items():
                if found and (new := table.get(" ".join(found[0].split()))):
                    self.note(kind, begin + found.start(), begin + found.end(), new, shown)

    def walk(self, node):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            self.statement = node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
        inside = []
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                given, inside = node.args, node.body
                children = [*node.decorator_list, *given.defaults, *filter(None, given.kw_defaults)]
            case ast.ClassDef():
                children, inside = [*node.decorator_list, *node.bases, *node.keywords], node.body
            case ast.Raise() | ast.JoinedStr() | ast.If(test=ast.Name("TYPE_CHECKING")):
                return
            case ast.If(test=ast.Compare(left=ast.Name("__name__"))) | ast.Assign(targets=[ast.Name("__all__")]):
                return
            case ast.Subscript(value=ast.Name("Literal" | "Annotated")):
                return
            case ast.Call() if _name(node) in TYPED:
                return
            case ast.AnnAssign():
                children = [node.value] if node.value else []
            case ast.keyword():
                children = [] if node.arg in SILENT else [node.value]
            case _:
                children = ast.iter_child_nodes(node)
        self.notes(node)
        for child in children:
            self.walk(child)
        if inside:  # decorators, bases and defaults belong to what lies around
            outer = self.function, self.statement
            self.scope.append(node.name)
            if not isinstance(node, ast.ClassDef):
                self.function = self.function or (node.body[0].lineno, node.end_lineno)
            for child in inside:
                self.walk(child)
            self.scope.pop()
            self.function, self.statement = outer

    def notes(self, node):
        match node:
            case ast.Compare():
                self.between(COMPARED, [node.left, *node.comparators], node)
            case ast.BoolOp():
                self.between(CONNECTED, node.values, node)
            case ast.BinOp() if not _text_or_list(node):
                self.between(ARITHMETIC, [node.left, node.right], node)
            case ast.AugAssign():
                self.between(ARITHMETIC, [node.target, node.value], node)
            case ast.UnaryOp(op=ast.USub() | ast.Not()):
                start = self.span(node)[0]
                self.note("unary", start, start + (1 if isinstance(node.op, ast.USub) else 3), "", node)
            case ast.Constant(value=bool()):
                self.note("constant", *self.span(node), repr(not node.value), node)
            case ast.Constant(value=int()):
                self.note("constant", *self.span(node), repr(node.value + 1), node)
            case ast.Constant(value=float()):
                self.note("constant", *self.span(node), repr(node.value * 1.5 or 1.0), node)
            case ast.If(test=test) | ast.IfExp(test=test):
                self.note("always", *self.span(test), "True", test)
                self.note("never", *self.span(test), "False", test)
            case ast.While(test=test) if not isinstance(test, ast.Constant):
                self.note("never", *self.span(test), "False", test)
            case ast.comprehension():
                for test in node.ifs:
                    self.note("always", *self.span(test), "True", test)
            case ast.Return(value=value) if value and not isinstance(value, ast.Constant):
                self.note("nothing", *self.span(value), "None", node)
            case ast.Call() if _name(node) not in SYMMETRIC:
                for left, right in itertools.pairwise(node.args):
                    (start, middle), (begin, end) = self.span(left), self.span(right)
                    first, gap, second = self.text[start:middle], self.text[middle:begin], self.text[begin:end]
                    starred = any(isinstance(argument, ast.Starred | ast.GeneratorExp) for argument in (left, right))
                    if not starred and first != second:
                        self.note("swapped", start, end, (second + gap + first).decode(), node)
        stored = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if stored or called or isinstance(node, ast.AugAssign):
            self.note("dropped", *self.span(node), "pass", node)


def _name(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _text_or_list(node):
    """Whether + would join these: words for people, or lists, for which - is an error at once."""
    if isinstance(node, ast.BinOp):
        return _text_or_list(node.left) or _text_or_list(node.right)
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.JoinedStr | ast.List | ast.ListComp | ast.Tuple)

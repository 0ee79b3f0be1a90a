"""Defects that are planted in code: what one is, where it stands, and the source with it.

A defect names a place, a function, class or constant by its qualified name, and a pattern that stands once in it.
Patterns are code with wildcards, as semgrep and ast-grep have them:

    $weight     any expression, name of an argument or attribute; the same wildcard is the same code wherever it stands
    $$people    any number of arguments, elements or statements, also none

Everything else stands for itself. Local names are written as wildcards, so that renaming them breaks no defect.
Python is compared as syntax trees: comments, quotes, brackets and line breaks do not matter. Other files are compared
word by word; a wildcard is a name there.
"""

from __future__ import annotations

import ast
import builtins
import copy
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

ONE = "wildcard_for_one_"
MANY = "wildcard_for_many_"
"""What wildcards are called while Python parses a pattern, which knows no $."""
POSITIONS = ("ctx", "type_comment", "kind", "lineno", "col_offset", "end_lineno", "end_col_offset")
"""Fields of syntax trees that say nothing of what the code does, or that follow from where it stands."""
PROGRAMS = ("plant.py", "mutate.py")
"""What lies beside the tables and is none."""
WORDS = re.compile(r'"(?:[^"\\\n]|\\.)*"|[\w$]+|\S')
"""Strings, names, numbers, and single signs of JavaScript and JSON."""

Bound = dict[str, Any]
"""What each wildcard stands for: a tree, a name, or a list of trees."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Defect:
    """One fault that a test must notice."""

    place: str
    """File and qualified name, `core/geometry.py::Fit.box`. Without a name the pattern stands once in the file."""
    breaks: str
    """A sentence: what a user would get."""
    find: str
    """A pattern that stands once in the place."""
    put: str
    """The code instead, with the same wildcards. Empty: nothing, a statement is left out."""
    caught_by: str
    """The id of the test that fails with this defect and passes without it."""
    promise: str
    """What the test holds the pack to, in a few words."""
    which: int = 0
    """Where the pattern stands several times in the place and nothing tells them apart: the how manyeth, from 1."""

    @property
    def path(self) -> str:
        return self.place.partition("::")[0]

    @property
    def name(self) -> str:
        return self.place.partition("::")[2]


class Stale(Exception):
    """The code has changed, and a defect no longer says where it stands. The message says what to look at."""


@dataclass(frozen=True)
class Site:
    """A piece of a tree: `count` entries of a list from `index` on, or a single child (index None)."""

    parent: ast.AST
    field: str
    index: int | None
    count: int
    bound: Bound

    @property
    def nodes(self) -> list[ast.AST]:
        child = getattr(self.parent, self.field)
        if self.index is None:
            return [child]
        return child[self.index : self.index + self.count]

    @property
    def start(self) -> tuple[int, int]:
        """Line and column of the first tree."""
        first = cast(ast.stmt, self.nodes[0])
        return first.lineno, first.col_offset

    @property
    def line(self) -> int:
        return self.start[0]


def planted(defect: Defect, root: Path) -> str:
    """The text of the defect's file with the defect in it. Raises Stale."""
    path = root / defect.path
    if not path.is_file():
        raise Stale(f"There is no file {defect.path}. Write where {defect.name or 'its code'} stands now.")
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return _planted_in_words(defect, text)
    tree = ast.parse(text)
    site = _site(defect, tree)
    _check_names(defect, tree)
    return _written(text, tree, site, _replacement(defect, site))


def tables_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name not in PROGRAMS)


def tables(folder: Path, chosen: Sequence[Path] = ()) -> list[Defect]:
    """The defects of tables, `DEFECTS` of a file each: of all in the folder, or of those chosen."""
    paths = list(chosen) or tables_of(folder)
    defects: list[Defect] = []
    for path in paths:
        spec = importlib.util.spec_from_file_location(f"defects_{path.stem}", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        defects += module.DEFECTS
    return defects


def trouble(defect: Defect, root: Path) -> str | None:
    """What is wrong with an entry, as far as can be seen without planting it; None where all is as it says."""
    heading = f"{defect.place}: {defect.breaks}\n"
    file, _, test = defect.caught_by.partition("::")
    function = test.partition("[")[0].rpartition("::")[2]
    if not (root / file).is_file():
        return f"{heading}There is no file {file}."
    if function and f"def {function}(" not in (root / file).read_text("utf-8"):
        return f"{heading}There is no test {function} in {file}."
    path = root / defect.path
    try:
        if path.is_file() and path.suffix == ".py":
            tree = _parsed(path.read_text("utf-8"))
            site = _site(defect, tree)
            _check_names(defect, tree)
            _replacement(defect, site)
        else:
            planted(defect, root)
    except Stale as stale:
        return f"{heading}{stale}"
    return None


@lru_cache
def _parsed(text: str) -> ast.Module:
    """A tree that nobody changes."""
    return ast.parse(text)


# -- where a defect stands -----------------------------------------------------------------------------------------


def definitions(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """The qualified name and tree of every function, class, and constant of a module or class."""
    for statement in _statements(tree):
        if isinstance(statement, Definition):
            yield f"{outer}{statement.name}", statement
            yield from definitions(statement, f"{outer}{statement.name}.")
        elif not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in _assigned(statement):
                yield f"{outer}{name}", statement


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Statements of a module, class or function, also those below an if, a try, a loop or a with."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.stmt | ast.ExceptHandler) and not isinstance(child, Definition):
            yield from _statements(child)


def _assigned(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _site(defect: Defect, tree: ast.Module) -> Site:
    places = [node for name, node in definitions(tree) if name == defect.name]
    if not defect.name:
        sites = sites_of(defect.find, tree)
    elif not places:
        raise Stale(f"{defect.path} has no {defect.name}. {_candidates(defect, tree)}")
    else:
        sites = [site for place in places for site in _sites_with_itself(defect.find, place, tree)]
    if not sites:
        raise Stale(f"{defect.place} does not have the pattern\n    {defect.find}\n{_candidates(defect, tree)}")
    if defect.which:
        if defect.which > len(sites):
            raise Stale(f"{defect.place} has the pattern {len(sites)} times only, not {defect.which}.")
        return sites[defect.which - 1]
    if len(sites) > 1:
        lines = ", ".join(str(site.line) for site in sites)
        raise Stale(f"{defect.place} has the pattern {len(sites)} times, in lines {lines}: say more of one of them.")
    return sites[0]


def _candidates(defect: Defect, tree: ast.Module) -> str:
    """What to look at: where the pattern stands, else lines like it in the place, else names of the module."""
    holders: dict[str, int] = {}
    for name, node in definitions(tree):
        sites = sites_of(defect.find, node)
        if sites:
            holders[name] = sites[0].line
    if holders:
        listed = ", ".join(f"{name} (line {line})" for name, line in holders.items())
        return f"The pattern stands in: {listed}."
    places = [node for name, node in definitions(tree) if name == defect.name]
    if places:
        pattern = pattern_of(defect.find)[0]
        kind = type(pattern.value if isinstance(pattern, ast.Expr) else pattern)
        likely = [node for place in places for node in ast.walk(place) if type(node) is kind]
        lines = [
            f"    line {node.lineno}: {ast.unparse(node).splitlines()[0]}" for node in cast(list[ast.stmt], likely)
        ]
        return "Code of this kind there:\n" + "\n".join(lines[:12] or ["    none"])
    return "It has: " + ", ".join(dict(definitions(tree))) + "."


def _check_names(defect: Defect, tree: ast.Module) -> None:
    """Raise Stale for a local name, which a renaming would break, and for one that is not known in the module at all,
    which any test would notice."""
    known_names = set(dir(builtins)) | {"self", "cls", "__file__", "__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known_names |= _names_bound(node)
    for statement in _statements(tree):
        known_names |= {statement.name} if isinstance(statement, Definition) else _names_bound(statement)
    for code in (defect.find, defect.put):
        nodes = list[ast.AST]()
        new = set[str]()
        for statement in pattern_of(code):
            nodes += ast.walk(statement)
            new |= {*_names_bound(statement)}
        for node in nodes:
            if isinstance(node, ast.Name) and not _wildcard(node) and node.id not in known_names | new:
                raise Stale(f"{defect.place}: {node.id} is a local name or none, write ${node.id} in\n    {code}")


def _names_bound(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, Definition | ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


# -- patterns ------------------------------------------------------------------------------------------------------


@lru_cache(4096)
def pattern_of(code: str) -> list[ast.stmt]:
    """The statements of a pattern. Raises SyntaxError, as Python does, with the pattern."""
    named = re.sub(r"\$\$(?=\w)", MANY, code)
    named = re.sub(r"\$(?=\w)", ONE, named)
    try:
        body = ast.parse(named).body
    except SyntaxError as cause:
        raise SyntaxError(f"{cause.msg} in the pattern\n    {code}") from None
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # A $ within a text is a $.
                node.value = node.value.replace(MANY, "$$").replace(ONE, "$")
    return body


def _wildcard(pattern: Any) -> str | None:
    """The wildcard that a pattern is, with what it is called while it is parsed."""
    if isinstance(pattern, ast.Expr):
        pattern = pattern.value
    if isinstance(pattern, ast.keyword) and pattern.arg is None:
        pattern = pattern.value
    if isinstance(pattern, ast.arg) and not pattern.annotation:
        pattern = pattern.arg
    if isinstance(pattern, ast.Name):
        pattern = pattern.id
    if isinstance(pattern, str) and pattern.startswith((ONE, MANY)):
        return pattern
    return None


def sites_of(find: str, place: ast.AST) -> list[Site]:
    """Where a pattern stands below a tree, in the order of the source."""
    patterns = pattern_of(find)
    single = patterns[0].value if len(patterns) == 1 and isinstance(patterns[0], ast.Expr) else None
    sites: list[Site] = []
    for parent in ast.walk(place):
        for field, child in ast.iter_fields(parent):
            if isinstance(child, list):
                sites += _sites_in_list(patterns, single, parent, field)
            elif single and isinstance(child, ast.expr):
                bound = match(single, child, {})
                if bound is not None:
                    sites.append(Site(parent, field, None, 1, bound))
    return sorted(sites, key=lambda site: site.start)


def _sites_in_list(patterns: list[ast.stmt], single: ast.expr | None, parent: ast.AST, field: str) -> list[Site]:
    sites: list[Site] = []
    children = getattr(parent, field)
    for index, child in enumerate(children):
        if single and isinstance(child, ast.expr):
            bound = match(single, child, {})
            if bound is not None:
                sites.append(Site(parent, field, index, 1, bound))
        elif not single and isinstance(child, ast.stmt):
            for count, bound in _runs(patterns, children[index:], {}):
                sites.append(Site(parent, field, index, count, bound))
                break
    return sites


def _sites_with_itself(find: str, place: ast.AST, tree: ast.AST) -> list[Site]:
    """Those below a definition, and the definition itself where the pattern is one of this kind."""
    sites = sites_of(find, place)
    if type(pattern_of(find)[0]) is type(place):
        parent, field = _parents(tree)[id(place)]
        sites += [site for site in _sites_in_list(pattern_of(find), None, parent, field) if site.nodes[0] is place]
    return sites


def match(pattern: Any, node: Any, bound: Bound) -> Bound | None:
    """What the wildcards stand for where `node` is what `pattern` says, beside what is bound already; else None."""
    wildcard = _wildcard(pattern)
    if wildcard and wildcard.startswith(ONE) and not isinstance(pattern, ast.keyword):
        if isinstance(pattern, ast.Expr) and not isinstance(node, ast.Expr):
            return None
        if isinstance(node, ast.Expr | ast.expr | ast.arg | str):
            return _bind(bound, wildcard, node)
        return None
    if isinstance(pattern, list):
        for count, further in _runs(pattern, node, bound):
            if count == len(node):
                return further
        return None
    if type(pattern) is not type(node):
        return None
    if not isinstance(pattern, ast.AST):
        return bound if pattern == node else None
    pairs = [(getattr(pattern, field), getattr(node, field)) for field in pattern._fields if field not in POSITIONS]
    if isinstance(pattern, ast.Call):
        # $$rest stands for arguments with and without a name.
        pairs = [(pattern.func, node.func), (pattern.args + pattern.keywords, node.args + node.keywords)]
    for part, child in pairs:
        further = match(part, child, bound)
        if further is None:
            return None
        bound = further
    return bound


def _runs(patterns: list[Any], nodes: list[Any], bound: Bound) -> Iterator[tuple[int, Bound]]:
    """How many of the first nodes the patterns can stand for, and what is bound then."""
    if not patterns:
        yield 0, bound
        return
    wildcard = _wildcard(patterns[0])
    if wildcard and wildcard.startswith(MANY):
        # As many as can be: what follows the wildcard takes the rest.
        for count in range(len(nodes), -1, -1):
            further = _bind(bound, wildcard, nodes[:count])
            if further is not None:
                for further_count, bound_in_all in _runs(patterns[1:], nodes[count:], further):
                    yield count + further_count, bound_in_all
    elif nodes:
        further = match(patterns[0], nodes[0], bound)
        if further is not None:
            for further_count, bound_in_all in _runs(patterns[1:], nodes[1:], further):
                yield 1 + further_count, bound_in_all


def _bind(bound: Bound, wildcard: str, node: Any) -> Bound | None:
    if isinstance(node, ast.Expr):
        node = node.value
    if isinstance(node, ast.arg):
        node = node.arg
    if isinstance(node, ast.Name):
        node = node.id
    if wildcard in bound and same(bound[wildcard]) != same(node):
        return None
    return bound | {wildcard: node}


def same(node: Any) -> str:
    """A text that is equal for trees that do the same."""
    if isinstance(node, list):
        return "; ".join(same(entry) for entry in node)
    if isinstance(node, ast.AST):
        return re.sub(r"(, )?(ctx=(Load|Store|Del)\(\)|kind='u')", "", ast.dump(node))
    return repr(node)


# -- the code with the defect --------------------------------------------------------------------------------------


class _Filled(ast.NodeTransformer):
    """Puts what they stand for in the place of wildcards."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field, child in ast.iter_fields(node):
            if isinstance(child, str) and child.startswith(ONE):
                setattr(node, field, self._name(child))
            elif isinstance(child, list):
                setattr(node, field, self._entries(child))
            elif isinstance(child, ast.AST):
                setattr(node, field, self.visit(child))
        if isinstance(node, ast.Call):
            arguments = node.args + node.keywords
            node.args = [argument for argument in arguments if not isinstance(argument, ast.keyword)]  # type: ignore
            node.keywords = [argument for argument in arguments if isinstance(argument, ast.keyword)]
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not node.id.startswith(ONE):
            return node
        value = self._value(node.id)
        return ast.Name(value, node.ctx) if isinstance(value, str) else copy.deepcopy(value)

    def _entries(self, entries: list[Any]) -> list[Any]:
        filled: list[Any] = []
        for entry in entries:
            wildcard = _wildcard(entry)
            if wildcard and wildcard.startswith(MANY):
                filled += copy.deepcopy(self._value(wildcard))
            elif isinstance(entry, ast.AST):
                filled.append(self.visit(entry))
            else:
                filled.append(entry)
        return filled

    def _name(self, wildcard: str) -> str:
        value = self._value(wildcard)
        if not isinstance(value, str):
            raise Stale(f"${wildcard.removeprefix(ONE)} stands for no name, and its new code needs one.")
        return value

    def _value(self, wildcard: str) -> Any:
        if wildcard not in self.bound:
            name = wildcard.replace(MANY, "$$").replace(ONE, "$")
            raise Stale(f"{name} stands in the new code and not in the pattern.")
        return self.bound[wildcard]


def _replacement(defect: Defect, site: Site) -> list[ast.AST]:
    """Trees in the place of those of the site."""
    statements = cast(list[ast.stmt], _Filled(site.bound)._entries(copy.deepcopy(pattern_of(defect.put))))
    if isinstance(site.nodes[0], ast.stmt):
        return list(statements)
    if len(statements) == 1 and isinstance(statements[0], ast.Expr):
        return [statements[0].value]
    if isinstance(site.parent, ast.Expr):
        return list(statements)
    raise Stale(f"{defect.place}: an expression is found, so the new code is one as well, not\n    {defect.put}")


def _parents(tree: ast.AST) -> dict[int, tuple[ast.AST, str]]:
    parents = {}
    for parent in ast.walk(tree):
        for field, child in ast.iter_fields(parent):
            entries = child if isinstance(child, list) else [child]
            for entry in entries:
                if isinstance(entry, ast.AST):
                    parents[id(entry)] = parent, field
    return parents


def _written(text: str, tree: ast.Module, site: Site, new: list[ast.AST]) -> str:
    """The text with new trees in the place of a site's.

    The smallest piece of it is written anew that gives the wanted tree: the piece itself, else what stands around it.
    Its own is not always enough: brackets, and in Python 3.11 positions within f-strings are wrong.
    """
    if isinstance(site.nodes[0], ast.expr) and (not new or isinstance(new[0], ast.stmt)):
        # A call that stands as a statement of its own.
        holder, field = _parents(tree)[id(site.parent)]
        site = Site(holder, field, getattr(holder, field).index(site.parent), 1, site.bound)
    start, end = _span(text, site.nodes)
    if isinstance(site.nodes[0], ast.stmt):
        indent = " " * cast(ast.stmt, site.nodes[0]).col_offset
        alone = len(getattr(site.parent, site.field)) == site.count
        piece = _unparsed(new, indent) or ("pass" if alone else "")
    else:
        piece = f"({ast.unparse(new[0])})"
    around = site.parent
    _put(site, new)
    expected = same(tree)
    parents = _parents(tree)
    while True:
        written = text.encode()[:start].decode() + piece + text.encode()[end:].decode()
        if _tree_of(written) == expected:
            return written
        if isinstance(around, ast.Module):
            written = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
            compile(written, "the code with the defect", "exec")
            return written
        if isinstance(around, ast.expr | ast.stmt):
            start, end = _span(text, [around])
            indent = " " * around.col_offset
            piece = _unparsed([around], indent) if isinstance(around, ast.stmt) else f"({ast.unparse(around)})"
        around = parents[id(around)][0]


def _put(site: Site, new: list[ast.AST]) -> None:
    if site.index is None:
        setattr(site.parent, site.field, new[0])
        return
    children = getattr(site.parent, site.field)
    children[site.index : site.index + site.count] = new
    if not children and site.field == "body":
        children.append(ast.Pass())


def _tree_of(text: str) -> str | None:
    try:
        return same(ast.parse(text))
    except SyntaxError:
        return None


def _unparsed(statements: list[ast.AST], indent: str) -> str:
    """Their code, but for the indent of its first line."""
    for statement in statements:
        ast.fix_missing_locations(statement)
    code = "\n".join(ast.unparse(statement) for statement in statements)
    return code.replace("\n", f"\n{indent}")


def _span(text: str, nodes: list[ast.AST]) -> tuple[int, int]:
    """From where to where trees stand in the text, in bytes of UTF-8."""
    first, last = cast(ast.stmt, nodes[0]), cast(ast.stmt, nodes[-1])
    line, column = first.lineno, first.col_offset
    decorators = getattr(first, "decorator_list", [])
    if decorators:
        line = decorators[0].lineno
    starts = [0]
    for row in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(row))
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    return starts[line - 1] + column, starts[last.end_lineno - 1] + last.end_col_offset


# -- JavaScript and JSON -------------------------------------------------------------------------------------------


def _planted_in_words(defect: Defect, text: str) -> str:
    words = list(WORDS.finditer(text))
    pattern = WORDS.findall(defect.find)
    sites: list[tuple[int, int, dict[str, str]]] = []
    for n in range(len(words) - len(pattern) + 1):
        run = words[n : n + len(pattern)]
        bound = _words_bound(pattern, [word[0] for word in run])
        if bound is not None:
            sites.append((run[0].start(), run[-1].end(), bound))
    if len(sites) != 1:
        raise Stale(f"{defect.path} has the pattern {len(sites)} times, not once:\n    {defect.find}")
    start, end, bound = sites[0]
    piece = re.sub(r"\$(\w+)", lambda wildcard: bound.get(wildcard[0], wildcard[0]), defect.put)
    return text[:start] + piece + text[end:]


def _words_bound(pattern: list[str], words: list[str]) -> dict[str, str] | None:
    bound: dict[str, str] = {}
    for expected, word in zip(pattern, words, strict=True):
        if expected.startswith("$") and len(expected) > 1:
            if not re.fullmatch(r"[\w$]+", word) or bound.setdefault(expected, word) != word:
                return None
        elif expected != word:
            return None
    return bound

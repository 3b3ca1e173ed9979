"""Recipes: which policies, PRMs, methods and budgets an experiment takes, in one small TOML file.

    name = "figure-4"
    dataset = "MATH-500"

    [sampling]
    max_tokens = 2048

    [[policies]]
    name = "Qwen/Qwen2.5-7B-Instruct"
    backend = "vllm"

    [[prms]]
    name = "Qwen/Qwen2.5-Math-PRM-7B"
    backend = "vllm"

    [[methods]]
    method = "best_of_n"
    budgets = [4, 16, 64, 256]

    [[methods]]
    method = "beam"
    budgets = [4, 16]

:func:`read` refuses what it does not know, :mod:`tts_utils.recipes.plan` says what is still to be done and
what it costs, :mod:`tts_utils.recipes.run` does it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tts_utils.records import SamplingConfig
from tts_utils.tree_search import TreeSearch

POOL_METHODS = ("greedy", "best_of_n")
TREE_METHODS = ("beam", "dvts")


class RecipeError(ValueError):
    """A recipe that cannot be read; the message names the file, the table and the key."""


@dataclass(frozen=True, slots=True)
class Model:
    """A policy or a PRM of a recipe.

    Attributes:
        name: a shipped name, a folder, or a Hub id.
        backend: what runs it.
        server_urls: the servers of backend "server"; several share the work.
        options: of the backend.
        sampling: settings of ``[sampling]`` that are others for this policy.
        label: what it is called in tables; default: its name, and its revision where one is asked for.
        revision: of a Hub id: a branch, a tag or a commit; default: the newest. It is part of the name in
            tables, as in "org/name@v1.0", so that rows of two revisions never share a table.
    """

    name: str
    backend: str = "transformers"
    server_urls: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    revision: str = ""

    @property
    def source(self) -> str:
        """What is loaded: its name, with its revision."""
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def called(self) -> str:
        """Its name in tables."""
        return self.label or self.source


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method with its budgets: "greedy" and "best_of_n" fill pools, "beam" and "dvts" searches."""

    method: str
    budgets: tuple[int, ...] = (1,)
    branching: int = 4
    how: str = "last"
    max_depth: int = 40

    def searches(self) -> tuple[TreeSearch, ...]:
        """The tree searches it stands for; none for a pool."""
        if self.method in POOL_METHODS:
            return ()
        return tuple(
            TreeSearch(self.method, n, self.branching, self.how, self.max_depth) for n in self.budgets
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """An experiment; see the module's first lines.

    Attributes:
        name: for messages and the log.
        dataset: as for :func:`tts_utils.problems.load_problems`.
        policies, prms, methods: every policy is run with every PRM and every method.
        sampling: how pools and steps are sampled.
        seeds: the whole experiment once for each.
        limit: only the first so many problems, or None.
    """

    name: str
    dataset: str
    policies: tuple[Model, ...]
    prms: tuple[Model, ...]
    methods: tuple[MethodSpec, ...]
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None

    def sampling_of(self, policy: Model, seed: int) -> SamplingConfig:
        """How this policy is sampled under this seed."""
        return replace(self.sampling, **policy.sampling, seed=seed)

    @property
    def pool(self) -> int:
        """Samples per problem that the largest Best-of-N needs; 0 where there is none."""
        return max((max(m.budgets) for m in self.methods if m.method == "best_of_n"), default=0)

    @property
    def greedy(self) -> bool:
        """Whether every policy also answers once, greedily."""
        return any(m.method == "greedy" for m in self.methods)

    def searches(self) -> tuple[TreeSearch, ...]:
        """All tree searches, cheapest first; of DVTS the largest of a kind, which holds the smaller ones."""
        found: dict[tuple, TreeSearch] = {}
        for search in sorted((s for m in self.methods for s in m.searches()), key=lambda s: s.budget):
            key = search.label if search.method == "dvts" else (search.label, search.budget)
            found[key] = search
        return tuple(found.values())


def read(path: Path | str) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: the file cannot be read or is no TOML; a key is unknown (the nearest one is named),
            missing, of the wrong type or out of range.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise RecipeError(f"cannot read the recipe {path}: {exc.strerror or exc}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise RecipeError(f"{path} is no TOML file: {exc}") from exc
    return of_table(table, str(path))


def of_table(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from what its TOML says; see :func:`read`.

    >>> of_table({"name": "x", "dataset": "lab-30", "polices": []})
    Traceback (most recent call last):
    ...
    tts_utils.recipes.RecipeError: recipe: there is no key 'polices'; did you mean 'policies'?
    """
    _check_keys(table, Recipe, where)
    parts = {
        name: tuple(
            _record(kind, row, f"{where}, {name} {i}") for i, row in enumerate(_list(table, name, where), 1)
        )
        for name, kind in (("policies", Model), ("prms", Model), ("methods", MethodSpec))
    }
    if not parts["policies"] or not parts["methods"]:
        raise RecipeError(f"{where}: a recipe needs at least one of [[policies]] and one of [[methods]]")
    sampling = _sampling(table.get("sampling", {}), f"{where}, [sampling]")
    for i, policy in enumerate(parts["policies"], 1):
        _sampling({**table.get("sampling", {}), **policy.sampling}, f"{where}, policies {i}, sampling")
    recipe = _built(
        Recipe,
        {k: v for k, v in table.items() if k not in (*parts, "sampling")} | parts | {"sampling": sampling},
        where,
    )
    _check(recipe, where)
    return recipe


def _check(recipe: Recipe, where: str) -> None:
    for i, spec in enumerate(recipe.methods, 1):
        if spec.method not in POOL_METHODS + TREE_METHODS:
            raise RecipeError(
                f"{where}, methods {i}: there is no method {spec.method!r}"
                f"{_nearest(spec.method, POOL_METHODS + TREE_METHODS)}"
            )
        if not spec.budgets or any(type(n) is not int or n < 1 for n in spec.budgets):
            raise RecipeError(
                f"{where}, methods {i}: budgets must be whole numbers from 1, got {spec.budgets}"
            )
        try:
            spec.searches()
        except ValueError as exc:
            raise RecipeError(f"{where}, methods {i}: {exc}") from exc
    if recipe.searches() and not recipe.prms:
        raise RecipeError(f"{where}: searches need at least one of [[prms]]")
    if recipe.searches() and recipe.sampling.temperature == 0:
        raise RecipeError(f"{where}: searches need a temperature above 0")
    if not recipe.seeds or any(type(seed) is not int for seed in recipe.seeds):
        raise RecipeError(f"{where}: seeds must be whole numbers, got {list(recipe.seeds)}")
    if recipe.limit is not None and (type(recipe.limit) is not int or recipe.limit < 1):
        raise RecipeError(f"{where}: limit must be a whole number from 1, got {recipe.limit!r}")
    for kind, models in (("policies", recipe.policies), ("prms", recipe.prms)):
        names = [model.called for model in models]
        for name in names:
            if names.count(name) > 1:
                raise RecipeError(f"{where}: {kind} has {name!r} twice; give one of them a label")
        for i, model in enumerate(models, 1):
            if model.revision and (model.name.count("/") != 1 or "@" in model.name):
                raise RecipeError(
                    f"{where}, {kind} {i}: a revision is that of a Hub id such as 'org/name', "
                    f"and the name is {model.name!r}"
                )
            if "revision" in model.options:
                raise RecipeError(f"{where}, {kind} {i}: revision is no option, it stands beside the name")
            if bool(model.server_urls) != (model.backend == "server"):
                raise RecipeError(
                    f"{where}, {kind} {i}: backend 'server' needs server_urls, and the others take none"
                )


def _sampling(table: Mapping[str, Any], where: str) -> SamplingConfig:
    if "seed" in table:
        raise RecipeError(f"{where}: seeds stand at the top of a recipe, as in seeds = [0, 1]")
    return _record(SamplingConfig, table, where)


def _record(kind: type, row: Any, where: str) -> Any:
    if not isinstance(row, Mapping):
        raise RecipeError(f"{where}: expected a table, got {row!r}")
    _check_keys(row, kind, where)
    return _built(kind, row, where)


def _built(kind: type, row: Mapping[str, Any], where: str) -> Any:
    for item in fields(kind):
        if item.name not in row and item.default is MISSING and item.default_factory is MISSING:
            raise RecipeError(f"{where}: the key {item.name!r} is missing")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    for item in fields(kind):
        if item.name in values:
            _check_type(values[item.name], item.type, f"{where}: {item.name}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as exc:
        raise RecipeError(f"{where}: {exc}") from exc


def _check_type(value: Any, annotation: str, where: str) -> None:
    """Types that a TOML value may have; those of nested records were made here."""
    wanted = {"str": str, "int": int, "float": (int, float)}.get(annotation)
    if annotation.startswith("tuple[str"):
        fits = isinstance(value, tuple) and all(isinstance(x, str) for x in value)
    elif annotation.startswith("tuple"):
        fits = isinstance(value, tuple)
    elif annotation.startswith("Mapping"):
        fits = isinstance(value, Mapping)
    else:
        fits = wanted is None or (isinstance(value, wanted) and not isinstance(value, bool))
    if not fits:
        raise RecipeError(f"{where} has the value {value!r}, which is no {annotation}")


def _list(table: Mapping[str, Any], name: str, where: str) -> list:
    rows = table.get(name, [])
    if not isinstance(rows, list):
        raise RecipeError(f"{where}: {name} must be written as [[{name}]]")
    return rows


def _check_keys(row: Mapping[str, Any], kind: type, where: str) -> None:
    known = [item.name for item in fields(kind)]
    for key in row:
        if key not in known:
            raise RecipeError(f"{where}: there is no key {key!r}{_nearest(key, known)}")


def _nearest(word: str, known) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(known)}"

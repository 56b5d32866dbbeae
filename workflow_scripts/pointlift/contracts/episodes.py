"""Few-shot episodes as index files: which shapes a fold learns from and which it is asked about, by id.

The literature's folds (Point-BERT, CVPR 2022, and all that follow it) are ten pickles a setting, made by a program that
sets no seed. These files replace them: drawn by a hash of ids, so that every machine gives the same, committed,
and held to a sha256. Numbers on them compare among themselves alone; a file's name is part of its metrics' names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import digest, stable_seed
from pointlift.contracts.settings import Settings

#: Committed files: ``<folder>/<plan>.json``, named ``<folder>/<plan>`` in config.yaml.
COMMITTED = Path(__file__).parents[1] / "episodes"
GENERATOR = 1
_LARGEST_FILE = 1 << 24  # bytes
_PLAN = re.compile(r"(?:([1-9][0-9]*)w([1-9][0-9]*(?:-[1-9][0-9]*)*)s|([1-9][0-9]*(?:-[1-9][0-9]*)*)shot)")


def nested_shots(shots: tuple[int, ...]) -> tuple[int, ...]:
    """The shots, when the support of each can be among that of the next. Raises ``ValueError``."""
    if list(shots) != sorted(set(shots)) or min(shots, default=1) < 1:
        raise ValueError("shots must be whole numbers from 1 on, rising, none twice")
    return shots


class EpisodePlan(Settings):
    """How many episodes of which size, and their seed."""

    ways: int = Field(default=0, ge=0, le=1000)
    """Classes per fold, drawn without repeats. 0: all classes at once."""
    shots: tuple[int, ...] = Field(min_length=1)
    """Labelled shapes per class. Several: nested, the support of 1 shot is the first of the five of 5 shots."""
    queries: int = Field(default=20, ge=0, le=1000)
    """Test shapes per class and fold; a class that has fewer gives all. 0: the whole test split is asked."""
    folds: int = Field(default=10, ge=1, le=1000)
    seed: int = Field(default=0, ge=0)
    _nested = field_validator("shots")(nested_shots)

    @model_validator(mode="after")
    def _whole(self) -> EpisodePlan:
        if self.ways == 1:
            raise ValueError("ways must be 2 or more, or 0 for all classes: one class alone is always right")
        if (self.ways == 0) != (self.queries == 0):
            raise ValueError("queries are per class of a fold: 0 with ways 0 (the whole test split), else 1 or more")
        return self

    @property
    def name(self) -> str:
        """As files are called: 5w10s, 1-5-10shot."""
        shots = "-".join(map(str, self.shots))
        return f"{self.ways}w{shots}s" if self.ways else f"{shots}shot"

    def labels(self) -> tuple[str, ...]:
        """Per number of shots, how metrics call it: 5w10s, 5_shot."""
        return tuple(f"{self.ways}w{shots}s" if self.ways else f"{shots}_shot" for shots in self.shots)


class Way(Settings):
    """One class of a fold. The first k of ``support`` are the support of k shots."""

    support: tuple[str, ...] = Field(min_length=1)
    queries: tuple[str, ...]


class Episodes(Settings):
    """A file of folds. ``base``: the dataset base whose ids these are, e.g. mn40. Ways are by class name, sorted."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+/[a-z0-9-]+$")
    base: str
    origin: Literal["drawn", "imported"]
    plan: EpisodePlan
    """Of imported folds ``seed`` means nothing: nobody knows it."""
    generator: int = Field(default=GENERATOR, ge=0)
    sources: dict[str, str] = Field(default_factory=dict)
    """Imported folds: sha256 of every file they came from."""
    folds: tuple[dict[str, Way], ...]

    @model_validator(mode="after")
    def _consistent(self) -> Episodes:
        if self.name.rpartition("/")[2] != self.plan.name:
            raise ValueError(f"the name must end in {self.plan.name}, as its plan says")
        if len(self.folds) != self.plan.folds:
            raise ValueError(f"there are {len(self.folds)} folds, the plan says {self.plan.folds}")
        for number, fold in enumerate(self.folds):
            problem = _fold_problem(self.plan, fold)
            if problem:
                raise ValueError(f"fold {number}: {problem}")
        return self


def plan_of(name: str) -> EpisodePlan | None:
    """The plan that a name stands for, with 20 queries, 10 folds and seed 0; None when it is no such name.

    ``5w10s``: 5 ways of 10 shots; ``1-5-10shot``: all classes, nested shots, the whole test split.
    """
    found = _PLAN.fullmatch(name)
    if found is None:
        return None
    shots = tuple(int(shots) for shots in (found[2] or found[3]).split("-"))
    try:
        return EpisodePlan(ways=int(found[1] or 0), shots=shots, queries=20 if found[1] else 0)
    except ValidationError:
        return None


def metric_names(episodes: str | EpisodePlan) -> tuple[str, ...]:
    """Names of the accuracies on episodes, per number of shots; the file's folder, or ``drawn``, is part of them."""
    folder, _, name = episodes.rpartition("/") if isinstance(episodes, str) else ("drawn", "/", "")
    plan = plan_of(name) if isinstance(episodes, str) else episodes
    return tuple(f"accuracy_{folder}_{label}" for label in plan.labels()) if plan is not None else ()


def draw(
    name: str, base: str, train: Mapping[str, Iterable[str]], test: Mapping[str, Iterable[str]], plan: EpisodePlan
) -> Episodes:
    """Draw episodes from ids by class; the order of ids and classes does not matter.

    Classes and ids are taken in the order of ``stable_seed("episodes", generator, seed, fold, role, word)``, which is a
    sha256: nothing hangs on a random number generator. Plans of one seed are nested: the 5 ways of a fold are among the
    10, its 10 shots among the 20, and the queries of a class are the same.

    Raises ``ArtifactError`` when there are too few classes, or a class that was drawn has too few shapes.
    """
    if plan.ways > len(train):
        raise ArtifactError(f"episodes {name}: {plan.ways} ways need as many classes, there are {len(train)}")
    folds = []
    for fold in range(plan.folds):
        classes = _ordered(train, plan.seed, fold, "class")[: plan.ways or None]
        folds.append({one: _way(one, train[one], test.get(one, ()), plan, fold) for one in sorted(classes)})
    return Episodes(name=name, base=base, origin="drawn", plan=plan, folds=tuple(folds))


def committed_names() -> tuple[str, ...]:
    """Names of the committed files, sorted."""
    return tuple(sorted(path.relative_to(COMMITTED).with_suffix("").as_posix() for path in COMMITTED.glob("*/*.json")))


def read_committed(name: str) -> Episodes:
    """A committed file by its name."""
    if name not in committed_names():
        raise ArtifactError(f"there are no episodes {name!r}; there are: {', '.join(committed_names()) or 'none'}")
    return read_episodes(COMMITTED / f"{name}.json")


def write_episodes(path: Path, episodes: Episodes) -> None:
    """Write as JSON, one line per class and role, atomically; equal episodes give equal bytes."""
    write_text(path, episodes_text(episodes))


def episodes_text(episodes: Episodes) -> str:
    """The content of a file. ``sha256`` is that of the canonical JSON of all other keys."""
    content = json.loads(episodes.model_dump_json())
    folds = content.pop("folds")
    head = {**content, "sha256": _sha256(episodes)}
    lines = [f" {json.dumps(key)}: {json.dumps(head[key])}," for key in sorted(head)]
    return "\n".join(["{", *lines, ' "folds": [', ",\n".join(map(_fold_text, folds)), " ]", "}", ""])


def read_episodes(path: Path) -> Episodes:
    """Read and check, the checksum included. Raises ``ArtifactError`` naming the file and what is wrong."""
    try:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise ArtifactError(f"{path}: larger than {_LARGEST_FILE} bytes, which no file of episodes is")
        content = json.loads(Path(path).read_bytes())
        said = content.pop("sha256", None) if isinstance(content, dict) else None
        episodes = Episodes.model_validate_json(json.dumps(content))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); restore it from the last commit") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ArtifactError(f"{path}: not a file of episodes: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not JSON ({str(error)[:120]}); restore it from the last commit") from None
    if said != _sha256(episodes):
        raise ArtifactError(f"{path}: its ids do not have the sha256 that it states; restore it from the last commit")
    return episodes


def _sha256(episodes: Episodes) -> str:
    return digest(json.loads(episodes.model_dump_json()), length=64)


def _fold_text(fold: Mapping[str, Any]) -> str:
    ways = [
        f'   {json.dumps(name)}: {{\n    "support": {json.dumps(way["support"])},\n'
        f'    "queries": {json.dumps(way["queries"])}}}'
        for name, way in sorted(fold.items())
    ]
    return "  {\n" + ",\n".join(ways) + "\n  }"


def _ordered(words: Iterable[str], seed: int, fold: int, role: str) -> list[str]:
    """The words in the order of their hash; the words themselves break ties."""
    return sorted(words, key=lambda word: (stable_seed("episodes", GENERATOR, seed, fold, role, word), word))


def _way(name: str, train: Iterable[str], test: Iterable[str], plan: EpisodePlan, fold: int) -> Way:
    support = _ordered(train, plan.seed, fold, "support")
    queries = _ordered(test, plan.seed, fold, "query")[: plan.queries]
    if len(support) < plan.shots[-1]:
        raise ArtifactError(
            f"episodes {plan.name}: {plan.shots[-1]} shots need as many training shapes of every class, {name} has "
            f"{len(support)}; lower shots"
        )
    if plan.queries and not queries:
        raise ArtifactError(f"episodes {plan.name}: class {name} has no test shape that could be a query")
    return Way(support=tuple(support[: plan.shots[-1]]), queries=tuple(queries))


def _fold_problem(plan: EpisodePlan, fold: Mapping[str, Way]) -> str | None:
    """What is wrong with a fold, or None."""
    if list(fold) != sorted(fold) or len(fold) < 2 or (plan.ways and len(fold) != plan.ways):
        return f"must have {plan.ways or 'all'} classes, sorted, and has {len(fold)}"
    for name, way in fold.items():
        fewest = min(plan.queries, 1)
        if len(way.support) != plan.shots[-1] or not fewest <= len(way.queries) <= plan.queries:
            return f"{name}: {len(way.support)} support shapes and {len(way.queries)} queries are not as planned"
    twice = _first_twice([shape_id for way in fold.values() for shape_id in (*way.support, *way.queries)])
    return f"{twice} stands there twice" if twice is not None else None


def _first_twice(ids: Sequence[str]) -> str | None:
    seen: set[str] = set()
    return next((one for one in ids if one in seen or seen.add(one)), None)  # type: ignore[func-returns-value]

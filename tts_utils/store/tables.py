"""What a stored table is: its identity, its place, its columns, how text is written; it touches no file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from tts_utils.records import SamplingConfig
from tts_utils.store.manifest import StoreError

SCHEMA_VERSION = 1
_POOL = [
    ("policy", pa.string()),
    ("dataset", pa.string()),
    ("problem_id", pa.string()),
    ("sample", pa.int32()),
]
SCHEMAS: Mapping[str, pa.Schema] = {
    "samples": pa.schema(
        [
            *_POOL,
            ("text", pa.string()),
            ("num_tokens", pa.int32()),
            ("finish_reason", pa.string()),
            ("answer", pa.string()),
            ("correct", pa.bool_()),
        ]
    ),
    "step_scores": pa.schema(
        [("prm", pa.string()), *_POOL, ("scores", pa.list_(pa.float64())), ("num_prm_tokens", pa.int32())]
    ),
    "step_labels": pa.schema([*_POOL, ("labels", pa.list_(pa.bool_()))]),
    "searches": pa.schema(
        [
            ("run", pa.int32()),
            ("problem_id", pa.string()),
            ("node", pa.int32()),
            ("parent", pa.int32()),
            ("depth", pa.int32()),
            ("sample", pa.int32()),
            ("text", pa.string()),
            ("num_tokens", pa.int32()),
            ("finish_reason", pa.string()),
            ("score", pa.float64()),  # NaN where there is none
            ("num_prm_tokens", pa.int32()),
            ("kept", pa.bool_()),
            ("finished", pa.bool_()),
        ]
    ),
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "samples": ("problem_id", "sample"),
    "step_scores": ("problem_id", "sample"),
    "step_labels": ("problem_id", "sample"),
    "searches": ("run", "problem_id", "node"),
}


UNKNOWN_TOKENS = -1
"""The token count of a row whose source does not say it; only imported rows have it."""

IMPORTED = "imported"
"""How the revision of a model begins whose rows were brought in from elsewhere; no live model has such."""


class DamagedTable(StoreError):
    """A file that cannot be read as a table, or whose bytes are not those in the manifest."""


class ForeignTable(StoreError):
    """A readable table that is not the one its name says, or that was filled from other sources."""


class StoreMiss(StoreError):
    """Rows are missing and no live model was given; the message names the command that fills them."""


@dataclass(frozen=True, slots=True)
class Table:
    """The identity of a table. How many rows it holds is no part of it: pools can grow.

    Attributes:
        kind: "samples", "step_scores", "step_labels" or "searches".
        dataset: the short name of the problem set.
        policy: the policy's name.
        sampling: how the policy was sampled; at temperature 0, where they do nothing, seed and top_p are set
            to 0 and 1.
        prm: the PRM's name, or "".
        method: a search method with its settings, such as "beam-n16-m4", or "".
    """

    kind: str
    dataset: str
    policy: str
    sampling: SamplingConfig
    prm: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        if self.kind not in SCHEMAS:
            raise StoreError(f"unknown kind of table {self.kind!r}; there is {', '.join(SCHEMAS)}")
        if self.sampling.temperature == 0:
            object.__setattr__(self, "sampling", replace(self.sampling, seed=0, top_p=1.0))

    @property
    def config(self) -> dict[str, Any]:
        """The full configuration as JSON values."""
        sampling = asdict(self.sampling) | {"stop": list(self.sampling.stop)}
        sampling |= {key: float(sampling[key]) for key in ("temperature", "top_p")}
        config = {"kind": self.kind, "dataset": self.dataset, "policy": self.policy, "sampling": sampling}
        return config | {key: value for key in ("prm", "method") if (value := getattr(self, key))}

    @property
    def config_sha256(self) -> str:
        """The hash of the configuration, in hexadecimal."""
        return config_sha256(self.config)

    @property
    def relative(self) -> str:
        """The table's path relative to the data directory."""
        folders = [self.kind, *(slug(name) for name in (self.dataset, self.policy, self.prm) if name)]
        label = f"{slug(self.method)}-" if self.method else ""
        name = f"{label}t{self.sampling.temperature:g}-{self.config_sha256[:8]}.parquet"
        return "/".join([*folders, name])

    def path(self, data: Path) -> Path:
        """Where the table lies."""
        return data / self.relative

    def parts(self, data: Path) -> Path:
        """The folder where its rows arrive before they are compacted."""
        return self.path(data).with_suffix(".parts")


def config_sha256(config: Mapping[str, Any]) -> str:
    """Hash a configuration: sha256 of its JSON with sorted keys."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()


def table_of(config: Mapping[str, Any]) -> Table:
    """The identity a stored configuration describes.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    stored = dict(config["sampling"])
    sampling = SamplingConfig(**stored | {"stop": tuple(stored["stop"])})
    return Table(**{**config, "sampling": sampling})


def sampling_options(sampling: SamplingConfig) -> list[str]:
    """The options of ``tts`` that say how a policy is sampled, as far as they differ from the defaults."""
    default = SamplingConfig()
    words = []
    if sampling.temperature == 0:
        words.append("--greedy")
    elif sampling.temperature != default.temperature:
        words += ["--temperature", f"{sampling.temperature:g}"]
    for option in ("seed", "max_tokens", "top_p"):
        value = getattr(sampling, option)
        if value != getattr(default, option):
            words += [f"--{option.replace('_', '-')}", str(value)]
    return words


# Parquet holds UTF-8, which has no lone surrogates; a model's text may. They are written as this private-use
# character and four hexadecimal digits, the character itself as two of it; all other text stands as it is.
ESCAPE = "\U0010fffd"


def escape(text: str) -> str:
    r"""Make any Python string storable as UTF-8; :func:`unescape` is its exact inverse.

    >>> escape("x\ud83d") == "x\U0010fffdd83d", unescape(escape("x\ud83d")) == "x\ud83d"
    (True, True)
    """
    if str.isascii(text):  # nearly all text, and asked in no time
        return text
    return re.sub(
        f"[{ESCAPE}\ud800-\udfff]",
        lambda found: ESCAPE * 2 if found[0] == ESCAPE else f"{ESCAPE}{ord(found[0]):04x}",
        text,
    )


def unescape(text: str) -> str:
    """Undo :func:`escape`."""
    if ESCAPE not in text:
        return text
    return re.sub(
        f"{ESCAPE}({ESCAPE}|[0-9a-f]{{4}})",
        lambda found: ESCAPE if found[1] == ESCAPE else chr(int(found[1], 16)),
        text,
    )


def slug(name: str) -> str:
    """A name as a folder name: "org/model" becomes "org--model"; the full name stands in the table itself."""
    slug = re.sub(r"[^\w.+=-]+", "--", name, flags=re.ASCII)
    if not slug.strip(".-"):
        raise StoreError(f"{name!r} cannot name a table: it has no letter or digit")
    return slug


def to_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

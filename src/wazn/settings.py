"""Every setting of wazn, in one schema: a flag, a WAZN_* variable and a key of wazn.toml each.

A flag wins over a variable, a variable over the file, the file over the default. The file is
`wazn.toml` in the user's configuration folder, or the one named by `--config`; never one in the
working directory. Addresses of public services stand here, and nowhere else, so that a mirror can
replace each of them. A value that cannot be honoured is an error that names it. An empty variable
counts as unset. This module knows nothing of what the settings are used for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wazn.errors import BadFile, BadRequest

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://modelscope.cn"
OLLAMA = "https://ollama.com"
OPENROUTER = "https://openrouter.ai"
GENAI_PRICES = (
    "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/"
    "prices/new_data/v2/data.json"
)
LITELLM_PRICES = (
    "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"
)

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?) *([KMGT]?I?)B?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The values in force. Sizes are bytes; endpoints have no trailing slash."""

    home: Path
    cache: Path
    cache_limit: int | None
    hf_endpoint: str
    ms_endpoint: str
    ollama_endpoint: str
    openrouter_endpoint: str
    genai_prices_address: str
    litellm_prices_address: str
    hf_token: str | None = field(repr=False)
    ms_token: str | None = field(repr=False)
    openrouter_token: str | None = field(repr=False)
    offline: bool
    pin: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the schema. `also` names variables of other programs that mean the same."""

    key: str
    meaning: str
    parse: Callable[[str], object]
    default: Callable[[Mapping[str, str]], object]
    also: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        return f"WAZN_{self.key.upper()}"

    @property
    def flag(self) -> str:
        return f"--{self.key.replace('_', '-')}"


def _folder(text: str) -> Path:
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):  # no such user: in the working directory it would be a surprise
        raise ValueError("a folder, after ~ only the name of a user who exists")
    return Path(expanded).absolute()


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size such as 20GB, 8GiB or a number of bytes")
    unit = match[2].upper()
    if unit == "I":
        raise ValueError("a size such as 20GB, 8GiB or a number of bytes")
    return int(float(match[1]) * (_UNITS | _BINARY_UNITS)[unit])


def _switch(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("true or false")


def _address(text: str) -> str:
    expected = "an address such as https://mirror.example"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(expected) from None
    if not usable or parts.query or parts.fragment or not text.isascii() or re.search(r"\s", text):
        raise ValueError(expected)
    return text.rstrip("/")


def _token(text: str) -> str:
    token = text.strip()
    if not re.fullmatch(r"[!-~]{1,4096}", token):
        raise ValueError("a token of visible ASCII characters")
    return token


def _user_folder(variable: str, fallback: str) -> Callable[[Mapping[str, str]], Path]:
    def default(environ: Mapping[str, str]) -> Path:
        base = Path(environ.get(variable, ""))  # the XDG specification ignores relative values
        return (base if base.is_absolute() else Path.home() / fallback) / "wazn"

    return default


def _always(value: object) -> Callable[[Mapping[str, str]], object]:
    return lambda environ: value


SCHEMA: tuple[Setting, ...] = (
    Setting(
        "home", "where models are kept", _folder, _user_folder("XDG_DATA_HOME", ".local/share")
    ),
    Setting(
        "cache", "where packed weights are kept", _folder, _user_folder("XDG_CACHE_HOME", ".cache")
    ),
    Setting("cache_limit", "most bytes the cache may use", _size, _always(None)),
    Setting(
        "hf_endpoint",
        "address of the Hugging Face Hub or a mirror of it",
        _address,
        _always(HUGGING_FACE),
        ("HF_ENDPOINT",),
    ),
    Setting(
        "ms_endpoint",
        "address of ModelScope or a mirror of it",
        _address,
        _always(MODELSCOPE),
    ),
    Setting(
        "ollama_endpoint",
        "address of Ollama's library or a mirror of it",
        _address,
        _always(OLLAMA),
    ),
    Setting(
        "openrouter_endpoint",
        "address of OpenRouter or a mirror of it",
        _address,
        _always(OPENROUTER),
    ),
    Setting(
        "genai_prices_address",
        "address of the price catalogue of genai-prices",
        _address,
        _always(GENAI_PRICES),
    ),
    Setting(
        "litellm_prices_address",
        "address of the price catalogue of litellm",
        _address,
        _always(LITELLM_PRICES),
    ),
    Setting(
        "hf_token",
        "access token for gated and private repositories of Hugging Face",
        _token,
        _always(None),
        ("HF_TOKEN",),
    ),
    Setting(
        "ms_token",
        "access token for gated and private repositories of ModelScope",
        _token,
        _always(None),
        ("MODELSCOPE_API_TOKEN",),
    ),
    Setting(
        "openrouter_token",
        "key of OpenRouter, for its usage figures older than a month",
        _token,
        _always(None),
        ("OPENROUTER_API_KEY",),
    ),
    Setting("offline", "refuse every use of the network", _switch, _always(False)),
    Setting("pin", "keep every thread of a model on a CPU of its own", _switch, _always(False)),
)


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where wazn.toml is looked for without `--config`."""
    environ = os.environ if environ is None else environ
    return _user_folder("XDG_CONFIG_HOME", ".config")(environ) / "wazn.toml"


def load_settings(
    config: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force.

    `config` is the file named by `--config` and must exist. `flags` maps keys of the schema to
    what the command line gave; None means not given. Raises BadRequest naming the flag, variable
    or key whose value is bad, and BadFile when the file is not TOML.
    """
    environ = os.environ if environ is None else environ
    path = config_path(environ) if config is None else config
    keys = _read_config(path, must_exist=config is not None)
    values: dict[str, Any] = {}
    for setting in SCHEMA:
        given = _given(setting, flags or {}, environ, keys, path)
        values[setting.key] = (
            setting.default(environ) if given is None else _parsed(setting, *given)
        )
    return Settings(**values)


def _read_config(path: Path, *, must_exist: bool) -> dict[str, object]:
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise BadRequest(f"--config names {path}, which does not exist.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path} cannot be read as UTF-8 text: {error}.") from None
    import tomllib  # only those who have the file pay for the parser

    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"{path} is not valid TOML: {error}.") from None
    known = [setting.key for setting in SCHEMA]
    for key in keys:
        if key not in known:
            raise BadRequest(f"{path} sets {key!r}, which is not one of {', '.join(known)}.")
    return keys


def _given(
    setting: Setting,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    keys: Mapping[str, object],
    path: Path,
) -> tuple[str, object] | None:
    """Where the value in force was given, and the value; None when nobody gave one."""
    if flags.get(setting.key) is not None:
        return setting.flag, flags[setting.key]
    if environ.get(setting.variable):
        return setting.variable, environ[setting.variable]
    if setting.key in keys:
        return f"{setting.key} in {path}", keys[setting.key]
    for variable in setting.also:
        if environ.get(variable):
            return variable, environ[variable]
    return None


def _parsed(setting: Setting, where: str, value: object) -> object:
    try:
        if isinstance(value, bool):
            return setting.parse(str(value).lower())
        if isinstance(value, str | int | Path):
            return setting.parse(str(value))
    except ValueError as error:
        shown = "not usable" if setting.key.endswith("_token") else repr(str(value))
        raise BadRequest(f"{where} is {shown}; give {error}.") from None
    raise BadRequest(f"{where} is a {type(value).__name__}; give a string, a number or a switch.")

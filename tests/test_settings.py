"""One schema: flag over variable over file over default, and no silent fallback."""

from pathlib import Path

import pytest

from wazn.errors import BadFile, BadRequest
from wazn.settings import SCHEMA, config_path, load_settings


def test_without_anything_set_the_defaults_hold(tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": str(tmp_path)}
    settings = load_settings(environ=home)
    assert (settings.home, settings.cache) == (Path("/d/wazn"), Path("/c/wazn"))
    assert settings.hf_endpoint == "https://huggingface.co"
    assert settings.ms_endpoint == "https://modelscope.cn"
    assert (settings.cache_limit, settings.hf_token, settings.offline) == (None, None, False)
    assert settings.pin is False


def test_the_folders_are_those_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = load_settings(environ={"XDG_DATA_HOME": "relative"})
    assert settings.home == Path("/home/someone/.local/share/wazn")
    assert settings.cache == Path("/home/someone/.cache/wazn")
    assert config_path({}) == Path("/home/someone/.config/wazn/wazn.toml")


def test_a_flag_wins_over_a_variable_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "wazn.toml"
    config.write_text(
        'home = "/file"\ncache = "/file"\noffline = true\ncache_limit = 5\npin = true\n'
    )
    variables = {"WAZN_HOME": "/variable", "WAZN_CACHE": "/variable", "WAZN_PIN": "off"}
    settings = load_settings(config, {"home": "/flag", "cache": None}, variables)
    assert (settings.home, settings.cache) == (Path("/flag"), Path("/variable"))
    assert (settings.offline, settings.cache_limit, settings.pin) == (True, 5, False)
    assert load_settings(config, {"pin": True}, variables).pin


def test_the_users_configuration_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "wazn").mkdir()
    (tmp_path / "wazn" / "wazn.toml").write_text("offline = true\n")
    assert load_settings(environ={"XDG_CONFIG_HOME": str(tmp_path)}).offline


def test_the_hubs_own_variables_come_last(tmp_path: Path) -> None:
    config = tmp_path / "wazn.toml"
    variables = {
        "HF_ENDPOINT": "https://theirs.example/",
        "HF_TOKEN": "hf_x",
        "MODELSCOPE_API_TOKEN": "ms_x",
    }
    config.write_text("")
    settings = load_settings(config, environ=variables)
    assert settings.hf_endpoint == "https://theirs.example"
    assert (settings.hf_token, settings.ms_token) == ("hf_x", "ms_x")
    config.write_text('hf_endpoint = "https://ours.example/hf"\n')
    assert load_settings(config, environ=variables).hf_endpoint == "https://ours.example/hf"
    variables["WAZN_HF_TOKEN"] = "hf_y"
    assert load_settings(config, environ=variables).hf_token == "hf_y"


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("123", 123), ("20GB", 20 * 10**9), ("8GiB", 8 * 2**30), ("1.5 M", 1_500_000), ("0", 0)],
)
def test_sizes_are_bytes_in_decimal_or_binary_units(text: str, num_bytes: int) -> None:
    assert load_settings(environ={"WAZN_CACHE_LIMIT": text}).cache_limit == num_bytes


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("WAZN_OFFLINE", "maybe", "true or false"),
        ("WAZN_HOME", "~nobody-of-this-name/x", "a folder, after ~"),
        ("WAZN_CACHE_LIMIT", "much", "a size such as 20GB"),
        ("WAZN_CACHE_LIMIT", "5IB", "a size such as 20GB"),
        ("WAZN_CACHE_LIMIT", "-1", "a size such as 20GB"),
        ("WAZN_HF_ENDPOINT", "huggingface.co", "an address such as"),
        ("WAZN_HF_ENDPOINT", "https://a b", "an address such as"),
        ("WAZN_HF_ENDPOINT", "https://x.example:99999", "an address such as"),
        ("WAZN_MS_ENDPOINT", "ftp://x.example", "an address such as"),
        ("HF_ENDPOINT", "nonsense", "an address such as"),
    ],
)
def test_a_bad_value_is_an_error_that_names_it(variable: str, value: str, expected: str) -> None:
    with pytest.raises(BadRequest) as caught:
        load_settings(environ={variable: value})
    assert str(caught.value).startswith(f"{variable} is {value!r}; give {expected}")


def test_a_bad_token_is_named_but_not_shown() -> None:
    with pytest.raises(BadRequest, match="WAZN_HF_TOKEN is not usable") as caught:
        load_settings(environ={"WAZN_HF_TOKEN": "hf_sec ret"})
    assert "ret" not in str(caught.value).replace("characters", "")


def test_a_bad_flag_and_a_bad_key_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"^--cache-limit is 'x'"):
        load_settings(flags={"cache_limit": "x"}, environ={})
    config = tmp_path / "wazn.toml"
    config.write_text('offline = "perhaps"\n')
    with pytest.raises(BadRequest, match=r"^offline in .*wazn\.toml is 'perhaps'"):
        load_settings(config, environ={})
    config.write_text("home = [1]\n")
    with pytest.raises(BadRequest, match=r"^home in .*wazn\.toml is a list"):
        load_settings(config, environ={})
    config.write_text('hame = "/x"\n')
    with pytest.raises(BadRequest, match="sets 'hame', which is not one of home, cache"):
        load_settings(config, environ={})


def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "wazn.toml"
    with pytest.raises(BadRequest, match="which does not exist"):
        load_settings(config, environ={})
    for content in (b"home = ", b"\xff\xfe"):
        config.write_bytes(content)
        with pytest.raises(BadFile, match=r"wazn\.toml"):
            load_settings(config, environ={})


def test_tokens_never_appear_when_settings_are_printed() -> None:
    assert "hf_secret" not in repr(load_settings(environ={"WAZN_HF_TOKEN": "hf_secret"}))


def test_every_setting_has_a_flag_a_variable_and_a_meaning() -> None:
    assert {setting.variable for setting in SCHEMA} >= {"WAZN_HOME", "WAZN_HF_ENDPOINT"}
    assert "--hf-endpoint" in {setting.flag for setting in SCHEMA}
    assert all(setting.meaning for setting in SCHEMA)

"""The progress of a download."""

import io

import pytest

from wazn.cli.progress import DownloadProgress


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_each_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with DownloadProgress() as progress:
        progress.start("a.gguf", 98_362_432, 0)
        progress.advance(98_362_432)
        progress.finish()
        progress.start("b.gguf", 2_000_000, 1_000_000)
        progress.finish()
        progress.start("waiting", None, 0)
        progress.finish()
    assert capsys.readouterr().err == (
        "wazn: a.gguf (98.4 MB)\nwazn: b.gguf (2.0 MB, 1.0 MB of it are here already)\n"
        "wazn: waiting\n"
    )


def test_a_terminal_gets_a_bar_with_name_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = FakeTerminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with DownloadProgress() as progress:
        progress.start("[red]a\x1b.gguf", 2_000_000, 500_000)
        progress.advance(1_500_000)
        progress.finish()
    assert "[red]a␛.gguf" in terminal.getvalue()
    assert "2.0/2.0 MB" in terminal.getvalue()

"""Hostile chat templates: one clear error within the limits, and the helper serves on."""

import time
from collections.abc import Iterator

import pytest

from wazn.errors import BadTemplate
from wazn.text.chat_template import LIMITS, MAX_PROMPT_CHARACTERS, ChatTemplate

USER = [{"role": "user", "content": "hi"}]
ATTACK = "{{% if messages[0].content == 'attack' %}}{}{{% else %}}fine{{% endif %}}"


@pytest.fixture
def template(request: pytest.FixtureRequest) -> Iterator[ChatTemplate]:
    built = ChatTemplate(request.param)
    yield built
    built.close()


def attacks(*sources: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("template", [*map(ATTACK.format, sources)], indirect=True)


def fails(template: ChatTemplate, named: str) -> None:
    """The attack is refused within the limits; before and after it the template works."""
    assert template.render(USER) == "fine"
    start = time.monotonic()
    with pytest.raises(BadTemplate, match=named):
        template.render([{"role": "user", "content": "attack"}])
    assert time.monotonic() - start < LIMITS.wall_s + 1
    assert template.render(USER) == "fine"


@attacks(
    "{{ ''.__class__ }}",
    "{{ ().__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{{ raise_exception.__globals__ }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ () | attr('__class__') | attr('__subclasses__') }}",
    "{{ messages | map(attribute='__class__') | list }}",
)
def test_the_way_into_python_is_closed(template: ChatTemplate) -> None:
    fails(template, "access to attribute '.*' of '.*' object is unsafe")


@attacks("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
def test_a_template_that_never_ends_is_killed(template: ChatTemplate) -> None:
    fails(template, f"did not finish within {LIMITS.cpu_s} s of processor time")


@attacks(
    "{{ 'x' * (10 ** 10 + messages | length) }}",
    "{{ '%9999999999d' % messages | length }}",
    "{{ '{:>9999999999}'.format(messages | length) }}",
    "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}"
    "{% endfor %}",
)
def test_a_template_that_fills_the_memory_is_stopped(template: ChatTemplate) -> None:
    fails(template, f"needed more than {LIMITS.memory_bytes >> 20} MiB of memory")


@attacks(
    "{% set a = 'x' * 100000 %}{% for i in range(99999) %}{{ a }}{% endfor %}",
    "{{ 'x' * 9000000 }}",
)
def test_a_template_that_writes_too_much_is_stopped(template: ChatTemplate) -> None:
    fails(template, f"wrote more than {MAX_PROMPT_CHARACTERS} characters")


@attacks("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}")
def test_a_macro_that_calls_itself_for_ever_is_stopped(template: ChatTemplate) -> None:
    fails(template, "calls itself too deeply")


@attacks("{% for i in range(10 ** 12) %}x{% endfor %}")
def test_a_range_too_long_is_refused(template: ChatTemplate) -> None:
    fails(template, "Range too big")


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{ 'x' * 10 ** 10 }}", "needed more than"),
        ("{{ 99999 ** 99999 ** 99999 }}", "failed|did not finish|needed more than"),
        ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "too deeply|crash"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "too deeply|crash"),
        ("{{ 1 " + "+ 1 " * 20_000 + "}}", "too deeply|crash|needed more than|did not finish"),
    ],
    indirect=["template"],
)
def test_a_template_that_cannot_be_compiled_is_an_error(template: ChatTemplate, named: str) -> None:
    with pytest.raises(BadTemplate, match=named):
        template.render(USER)


@pytest.mark.parametrize("template", ["{{ '\\ud800' }}a\x00"], indirect=True)
def test_text_that_is_no_unicode_does_not_reach_the_engine(template: ChatTemplate) -> None:
    assert template.render(USER).encode() == b"?a\x00"

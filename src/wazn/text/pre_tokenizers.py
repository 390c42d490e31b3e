"""How each family cuts text into words before byte-pair merging, and which cutting rules are safe.

GGUF names the rule by a label (``tokenizer.ggml.pre``); ``tokenizer.json`` spells it out. This
table maps labels to the spelled-out form, as the JSON of the tokenizers library. Its patterns are
the families' own and run in time linear in the text, which is why ``pipelines`` lets them run in
this process. This module knows no vocabulary and runs no pattern.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from wazn.errors import UnsupportedModel
from wazn.text.json_file import JSON

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_SPACES}"
QWEN2 = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_SYMBOLS}|{_SPACES}"
QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)
# The vendors' files hold these with literal CR and LF characters, not with escapes.
SEED = (
    rf"{_CONTRACTIONS}|[^{chr(13)}{chr(10)}\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1}}"
    rf"| ?[^\s\p{{L}}\p{{N}}{chr(13)}{chr(10)}]+|\s*[{chr(13)}{chr(10)}]+|\s+(?!\S)|\s+"
)
DEEPSEEK_V3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
).replace('\\"', '"')
DIGIT_GROUPS = r"\p{N}{1,3}"
KANA_AND_HAN = "[一-龥぀-ゟ゠-ヿ]+"

NEWLINE = "[\r\n]"
CJK = "[一-龥ࠀ-一가-퟿]+"
CODER_LETTERS = r"\s?\p{L}+"
CODER_PUNCTUATION = r"\s?\p{P}+"
# Some of these letters have a canonical equal elsewhere, so they stand here as numbers.
LLM_LETTERS = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
    "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffcℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ"
    "\u212a-\u212dℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻"
    "𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
)
LLM_PUNCTUATION = r"\s?[!-/:-~！-／：-～‘-‟　-。]+"
# The vendor writes \s+$, which is quadratic in a run of spaces. No piece holds a newline beside
# other text here (NEWLINE cuts first), so only a whole run can match and this is the same rule.
TRAILING_SPACE = r"(?<!\s)\s+$"

DEFAULT_SYMBOLS = r"[\p{P}\$\+<=>\^~\|]+"
DEFAULT_DIGITS = r"\p{N}+"
DEFAULT_TRIPLES = "[0-9][0-9][0-9]"

SAFE_PATTERNS: Mapping[str, str] = {
    r"\s+$": TRAILING_SPACE,
    **{
        pattern: pattern
        for pattern in (
            *(GPT2, LLAMA3, QWEN2, QWEN35, TEKKEN, GPT4O, SEED, DEEPSEEK_V3),
            *(DIGIT_GROUPS, KANA_AND_HAN, NEWLINE, CJK, CODER_LETTERS, CODER_PUNCTUATION),
            *(LLM_LETTERS, LLM_PUNCTUATION, TRAILING_SPACE),
            *(DEFAULT_SYMBOLS, DEFAULT_DIGITS, DEFAULT_TRIPLES),
            *(r"\p{N}", " {2,}", r"\s+"),
        )
    },
}
"""Patterns known to run in linear time, each with the form to run."""


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """The cutting rule of one family; ``normalizer`` and ``steps`` are the library's JSON.

    ``ignore_merges``: a word that is in the vocabulary is one token, whatever its merges say.
    ``adds_bos``: prompts start with the beginning-of-sequence token unless the file says no.
    """

    steps: JSON
    normalizer: JSON = None
    ignore_merges: bool = False
    adds_bos: bool = False


def _split(pattern: str) -> JSON:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def _byte_level(use_regex: bool = False) -> JSON:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _digits(individual: bool) -> JSON:
    return {"type": "Digits", "individual_digits": individual}


def _sequence(*steps: JSON) -> JSON:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _patterns(*patterns: str) -> JSON:
    return _sequence(*map(_split, patterns), _byte_level())


_NFC: JSON = {"type": "NFC"}
_PLAIN = PreTokenizer(_byte_level(use_regex=True))
_SINGLE_DIGITS = PreTokenizer(_sequence(_digits(individual=True), _byte_level(use_regex=True)))
_LLAMA3 = PreTokenizer(_patterns(LLAMA3), ignore_merges=True, adds_bos=True)
_QWEN2 = PreTokenizer(_patterns(QWEN2), normalizer=_NFC)
_GPT4O = PreTokenizer(_patterns(GPT4O))

LABELS: Mapping[str, PreTokenizer] = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo"), _PLAIN),
    **dict.fromkeys(("smollm", "starcoder", "refact"), _SINGLE_DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), _LLAMA3),
    **dict.fromkeys(("dbrx", "smaug-bpe"), PreTokenizer(_patterns(LLAMA3))),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), _QWEN2),
    **dict.fromkeys(("stablelm2", "grok-2"), PreTokenizer(_patterns(QWEN2))),
    **dict.fromkeys(("gpt-4o", "llama4"), _GPT4O),
    **dict.fromkeys(("glm4", "chatglm-bpe"), PreTokenizer(_patterns(LLAMA3))),
    "qwen35": PreTokenizer(_patterns(QWEN35), normalizer=_NFC),
    "tekken": PreTokenizer(_patterns(TEKKEN), ignore_merges=True, adds_bos=True),
    "seed-coder": PreTokenizer(_patterns(SEED)),
    "deepseek-v3": PreTokenizer(_patterns(DIGIT_GROUPS, KANA_AND_HAN, DEEPSEEK_V3)),
    "deepseek-coder": PreTokenizer(
        _sequence(
            *map(_split, (NEWLINE, CODER_LETTERS, CODER_PUNCTUATION, CJK)),
            _digits(individual=True),
            _byte_level(),
        )
    ),
    "deepseek-llm": PreTokenizer(
        _sequence(
            *map(_split, (NEWLINE, LLM_LETTERS, LLM_PUNCTUATION, TRAILING_SPACE, CJK)),
            _digits(individual=False),
            _byte_level(),
        )
    ),
    # What GGUF readers do with a file whose converter did not know the rule.
    "default": PreTokenizer(_patterns(DEFAULT_SYMBOLS, GPT2, DEFAULT_DIGITS, DEFAULT_TRIPLES)),
}

SPACE_MARKS: JSON = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
"""The normalizer of SentencePiece vocabularies: spaces are written as ▁."""
SPACE_MARKS_WITH_PREFIX: JSON = {
    "type": "Sequence",
    "normalizers": [{"type": "Prepend", "prepend": "▁"}, SPACE_MARKS],
}
"""The same where a text begins with a space that is not there."""


def find_pre_tokenizer(label: str) -> PreTokenizer:
    """The rule behind a GGUF label, or UnsupportedModel naming the label."""
    rule = LABELS.get(label)
    if rule is None:
        raise UnsupportedModel(
            f"tokenizer.ggml.pre names the pre-tokeniser {label[:80]!r}, which this version does "
            f"not know. Known are: {', '.join(sorted(LABELS))}."
        )
    return rule

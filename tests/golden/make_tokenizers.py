"""Makes the three tiny vocabularies under tokenizers/ (needs the ``tokenizers`` package).

Byte-level BPE of 256 bytes, some merges learnt from texts.py and a family's special tokens, with
the family's pre-tokeniser and chat template. Run from the root:
``python -m tests.golden.make_tokenizers``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split
from tokenizers.trainers import BpeTrainer

from tests.golden.catalogue import FOLDER, VOCAB_SIZE
from tests.golden.texts import CORPUS

_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_HEADERS = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] +"
    " '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% endif %}"
)


def _pattern(digits: str) -> str:
    """How Llama 3 and Qwen2 cut text before BPE; they differ in how many digits stay together."""
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def _split(pattern: str) -> PreTokenizer:
    bytes_only = ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return Sequence([Split(Regex(pattern), "isolated"), bytes_only])


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A family's way with text; ``specials`` end the vocabulary, ``plain`` ones are not special."""

    name: str
    pre_tokenizer: PreTokenizer
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    template: str
    plain: tuple[str, ...] = ()
    adds_bos: bool = False
    normalises: bool = False


VOCABULARIES = (
    Vocabulary(
        "llama3",
        _split(_pattern(r"\p{N}{1,3}")),
        (
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|python_tag|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        template=_HEADERS,
        adds_bos=True,
    ),
    Vocabulary(
        "qwen2",
        _split(_pattern(r"\p{N}")),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos=None,
        eos="<|im_end|>",
        template=_CHATML,
        plain=("<tool_call>", "<think>", "</think>"),
        normalises=True,
    ),
    Vocabulary(
        "smollm2",
        Sequence([Digits(individual_digits=True), ByteLevel(False, True, True)]),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<jupyter>"),
        bos="<|im_start|>",
        eos="<|im_end|>",
        template=_CHATML,
    ),
)


def make(vocabulary: Vocabulary, folder: Path) -> None:
    """Trains one vocabulary and writes its tokenizer.json and tokenizer_config.json."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = vocabulary.pre_tokenizer
    tokenizer.decoder = ByteLevelDecoder()
    if vocabulary.normalises:
        tokenizer.normalizer = normalizers.NFC()
    extra = len(vocabulary.specials) + len(vocabulary.plain)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=VOCAB_SIZE - extra, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in vocabulary.specials])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in vocabulary.plain])
    if vocabulary.adds_bos:
        bos = str(vocabulary.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos}:1 $B:1",
            special_tokens=[(bos, tokenizer.token_to_id(bos))],
        )
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"{vocabulary.name}: {tokenizer.get_vocab_size()} ids, not {VOCAB_SIZE}")
    _write(vocabulary, tokenizer, folder)


def _write(vocabulary: Vocabulary, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False) + "\n")
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": vocabulary.adds_bos,
        "bos_token": vocabulary.bos,
        "eos_token": vocabulary.eos,
        "pad_token": vocabulary.specials[0],
        "clean_up_tokenization_spaces": False,
    }
    if vocabulary.name == "qwen2":  # one family keeps its template in a file, as newer ones do
        (folder / "chat_template.jinja").write_text(vocabulary.template)
    else:
        settings["chat_template"] = vocabulary.template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    for each in VOCABULARIES:
        make(each, FOLDER / "tokenizers" / each.name)

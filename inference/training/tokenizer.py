"""The tokenizer: byte-level BPE of Qwen's kind, small, and true to the pipeline's fixed template.

`Krea2Pipeline` wraps every caption in a template and counts on its length: 34 tokens before the
caption, 5 after. A vocabulary learnt from captions alone would split the template's words, so they
are fed to the trainer many times over. `folder` builds one, `text` and the tests read the template.
"""

import json
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import Qwen2Tokenizer

# The template of Krea2Pipeline; its token counts (34 before the prompt, 5 after) are fixed there.
PREFIX = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity,"
    " text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
PREFIX_TOKENS = 34
SUFFIX_TOKENS = 5
# The template is fed this often to the tokenizer's trainer, so that each of its words is one token.
TEMPLATE_WEIGHT = 5_000

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer of Qwen's kind whose template takes 34 + 5 tokens.

    Raises ValueError when the vocabulary is too small for the template's words.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_template(texts), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    qwen = Qwen2Tokenizer(vocab=learnt["vocab"], merges=merges)
    qwen.add_tokens(list(SPECIAL_TOKENS), special_tokens=True)
    counts = [len(qwen(text).input_ids) for text in (PREFIX, SUFFIX)]
    if counts != [PREFIX_TOKENS, SUFFIX_TOKENS]:
        message = f"template takes {counts} tokens, the pipeline expects 34 and 5"
        raise ValueError(message)
    return qwen


def _with_template(texts: Iterable[str]) -> Iterator[str]:
    words = PREFIX + SUFFIX
    for token in SPECIAL_TOKENS:
        words = words.replace(token, "")
    yield from texts
    for _ in range(TEMPLATE_WEIGHT):
        yield words

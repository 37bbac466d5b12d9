"""Real tokenizers of every kind, trained by the tokenizers library on a few sentences when a test asks for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from onnxplain.io.text.tokenizer import Tokenizer as OurTokenizer

__all__ = ["KINDS", "made", "trained"]

SENTENCES = [
    "A fine film, and it is really good.",
    "Don't watch this bad film!",
    "The café is naïve; good acting, good story. Well-known faces.",
    "Is it good? It isn't. It is bad, really bad.",
] * 10

ALPHABET = [chr(c) for c in range(ord("a"), ord("z") + 1)]


def wordpiece() -> Tokenizer:
    """As BERT's: lower case, "##" inside of words, [CLS] and [SEP] around texts."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        SENTENCES,
        trainers.WordPieceTrainer(vocab_size=110, special_tokens=special, initial_alphabet=ALPHABET, show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def bpe() -> Tokenizer:
    """As Llama's: "▁" for spaces by normalization, bytes for unknown characters, <s> in front."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # so that words stay words in so small a vocabulary
    single = ["<unk>", "<s>", "</s>"]
    made.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=400, special_tokens=[*single, *(f"<0x{b:02X}>" for b in range(256))], show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return made


def unigram() -> Tokenizer:
    """As T5's: "▁" for spaces, </s> behind."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        SENTENCES, trainers.UnigramTrainer(vocab_size=90, unk_token="<unk>", special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return made


def byte_level() -> Tokenizer:
    """As GPT-2's: a character for every byte, nothing added."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=340, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False),
    )
    return made


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece": wordpiece,
    "BPE": bpe,
    "Unigram": unigram,
    "byte-level": byte_level,
}


@cache
def trained(kind: str) -> Tokenizer:
    """The library's own object of a kind. Do not change it."""
    return KINDS[kind]()


def made(kind: str) -> OurTokenizer:
    """A tokenizer of a kind, as it comes from a file."""
    return OurTokenizer(trained(kind).to_str())

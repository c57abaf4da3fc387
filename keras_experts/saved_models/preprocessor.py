"""Preprocessors: SavedModels from texts to what encoders take.

The format is TensorFlow Hub's common API for text: the root maps strings
`(batch,)` to a dict of int32 tensors `(batch, seq_length)`; its parts
`tokenize` and `bert_pack_inputs` do the two halves. Tokens are BERT's word
pieces, without case and accents, by tensorflow-text.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.mediums import PACKED
from keras_experts.mediums import TEXTS
from keras_experts.mediums import import_tensorflow_text
from keras_experts.saved_models import handles
from keras_experts.saved_models.writing import reusable_object
from keras_experts.saved_models.writing import write_module

# The first tokens of a vocabulary, in this order.
PADDING, UNKNOWN, START, END, MASK = range(5)
RESERVED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY_FILE = handles.METADATA_FILE.with_name("vocabulary.txt")
TEXT_BATCH = tf.TensorSpec((None,), tf.string, "inputs")
PURPOSE = "Tokenising texts"
LEARNED_BATCH = 1000
MIN_LENGTH = 3  # start, a token, end


def learn_vocabulary(texts: Iterable[bytes], vocabulary_size: int) -> list[str]:
    """Returns a vocabulary of word pieces, learned by tensorflow-text's tool.

    Args:
        texts: UTF-8.
        vocabulary_size: int. Tokens, at most; the tool makes about as many.

    Raises:
        ModuleNotFoundError: if tensorflow-text is not installed.
    """
    import_tensorflow_text(PURPOSE)
    from tensorflow_text.tools.wordpiece_vocab import bert_vocab_from_dataset

    dataset = tf.data.Dataset.from_tensor_slices(list(texts))
    vocabulary = bert_vocab_from_dataset.bert_vocab_from_dataset(
        dataset.batch(LEARNED_BATCH),
        vocabulary_size,
        list(RESERVED),
        {"lower_case": True},
        {},
    )
    return vocabulary[:vocabulary_size]


def vocabulary_digest(vocabulary: list[str]) -> str:
    """Returns the SHA-256 of a vocabulary, hexadecimal."""
    return hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()


def read_vocabulary(preprocessor: str | Path) -> list[str]:
    """Reads the vocabulary of a preprocessor of ours, in the order of ids.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = handles.resolve(str(preprocessor)) / VOCABULARY_FILE
    with files.open_text(path) as lines:
        return lines.read().split("\n")[:-1]


def write_preprocessor(
    directory: str | Path,
    vocabulary: list[str],
    seq_length: int,
    metadata: dict,
) -> None:
    """Writes a preprocessor as a reusable SavedModel.

    Bytes that are no UTF-8 become U+FFFD; what is longer than `seq_length`
    tokens is cut.

    Args:
        directory: folder to make; must be new or empty.
        vocabulary: of `learn_vocabulary`, or another that begins so.
        seq_length: int. Tokens of a packed text, start and end included.
        metadata: dict. What else to keep, as in `write_module`.

    Raises:
        ModuleNotFoundError: if tensorflow-text is not installed.
        ValueError: if `seq_length` is below 3.
    """
    check_at_least(seq_length=(seq_length, MIN_LENGTH))
    tokenize = _make_tokenizer(vocabulary)

    def preprocess(inputs):
        return _pack([tokenize(inputs)], seq_length)

    root = reusable_object(preprocess, [((TEXT_BATCH,), {})], [], [])
    root.tokenize = reusable_object(tokenize, [((TEXT_BATCH,), {})], [], [])
    root.bert_pack_inputs = _packer(seq_length)
    serve = tf.function(preprocess, input_signature=[TEXT_BATCH])
    told = {**metadata, **describe(vocabulary, seq_length)}
    with files.temporary_folder() as folder:
        extra = Path(folder, VOCABULARY_FILE.name)
        extra.write_text("".join(f"{t}\n" for t in vocabulary), "utf-8")
        signatures = {"serving_default": serve}
        write_module(directory, root, signatures, told, [extra])


def describe(vocabulary: list[str], seq_length: int) -> dict:
    """Returns the part of a preprocessor's metadata that describes it."""
    return {
        "kind": handles.PREPROCESSOR,
        "medium": TEXTS,
        "seq_length": seq_length,
        "vocabulary_size": len(vocabulary),
        "vocabulary_sha256": vocabulary_digest(vocabulary),
    }


def _make_tokenizer(vocabulary: list[str]):
    text = import_tensorflow_text(PURPOSE)
    tokenizer = text.FastBertTokenizer(
        vocabulary, token_out_type=tf.int32, lower_case_nfd_strip_accents=True
    )

    def tokenize(inputs):
        whole = tf.strings.unicode_transcode(inputs, "UTF-8", "UTF-8")
        return tokenizer.tokenize(whole)  # (batch, (tokens))

    return tokenize


def _pack(segments: list[tf.RaggedTensor], seq_length) -> dict:
    """Puts segments behind one another, between marks, and fills up."""
    text = import_tensorflow_text(PURPOSE)
    room = seq_length - len(segments) - 1
    flat = [s.merge_dims(1, -1) if s.ragged_rank > 1 else s for s in segments]
    words, types = text.combine_segments(
        text.RoundRobinTrimmer(room).trim(flat), START, END
    )
    words, mask = text.pad_model_inputs(words, seq_length, PADDING)
    types, _ = text.pad_model_inputs(types, seq_length, 0)
    packed = [tf.cast(part, tf.int32) for part in (words, mask, types)]
    if isinstance(seq_length, int):
        packed = [tf.ensure_shape(part, (None, seq_length)) for part in packed]
    return dict(zip(PACKED, packed, strict=True))


def _packer(seq_length: int) -> tf.train.Checkpoint:
    """Makes the part that packs one or two lists of tokens a text.

    Tokens come flat, or by the words that they are pieces of.
    """

    def pack(inputs, seq_length=seq_length):
        return _pack(inputs, seq_length)

    lists = [
        [tf.RaggedTensorSpec((None, *[None] * rank), tf.int32)] * number
        for rank in (1, 2)
        for number in (1, 2)
    ]
    length = tf.TensorSpec((), tf.int32, "seq_length")
    traces = [((one,), {}) for one in lists]
    traces += [((one,), {"seq_length": length}) for one in lists]
    return reusable_object(pack, traces, [], [])

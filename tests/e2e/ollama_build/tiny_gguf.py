"""Writes small, valid GGUF models for the real Ollama: a chat model (4 MB) and an embedding model (8 MB).

The chat model's weights are the bigrams of a built-in text, so its answers are readable and end after 2-80 tokens.
Another seed makes another file, and so another model to Ollama. Never downloads anything, never talks to Ollama.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from numpy.typing import NDArray

TEXT = (
    "The quick brown fox jumps over the lazy dog. A proxy forwards each request to the server and measures how long "
    "the model needs to load, to read the prompt and to write the answer. The first token arrives after the prompt was "
    "evaluated, then every further token follows at a steady rate. Hello! How can I help you today? I am a tiny test "
    "model, made of random numbers, and I know only these few sentences. The capital of France is Paris. Metrics are "
    "counted per model and per client, and a dashboard shows latency, throughput, errors and queue length over time."
)
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WIDTH = 512  # embedding length: at least the vocabulary, so that every token gets its own direction
BLOCKS = 2
HEADS = WIDTH // 64
MERGES = 400
SHARPNESS = 30.0  # logit of a certain successor: noise is never sampled, a stray byte of which breaks a stream off
WORDS_THAT_MAY_END_A_TURN = 8  # a bigram walk can circle for long without meeting a full stop

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Byte-level BPE learnt from `TEXT`, and that text as token ids."""

    tokens: list[str]
    merges: list[tuple[str, str]]
    text: list[int]


class _ModelFile:
    """A GGUF under way: metadata goes to `meta`, tensors through `add`."""

    def __init__(self, path: Path, architecture: str, seed: int) -> None:
        self.meta = gguf.GGUFWriter(path, architecture)
        self._random = np.random.default_rng(seed)
        self.meta.add_name("tiny")
        self.meta.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
        self.meta.add_quantization_version(2)
        self.meta.add_embedding_length(WIDTH)
        self.meta.add_block_count(BLOCKS)
        self.meta.add_head_count(HEADS)

    def random(self, *shape: int, scale: float = 0.02) -> Array:
        return self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def add(self, name: str, values: Array, *, exact: bool = False) -> None:
        """Adds a tensor: matrices as Q8_0 unless `exact`, vectors as F32."""
        if exact or values.ndim == 1:
            self.meta.add_tensor(name, values)
        else:
            quantized = gguf.GGMLQuantizationType.Q8_0
            self.meta.add_tensor(name, quantize(values, quantized), raw_dtype=quantized)

    def close(self) -> None:
        self.meta.write_header_to_file()
        self.meta.write_kv_data_to_file()
        self.meta.write_tensors_to_file()
        self.meta.close()


def write_chat_model(path: Path, *, seed: int, eos: float) -> None:
    """Writes a llama-architecture model that speaks `TEXT`.

    Args:
        path: the GGUF to write.
        seed: another seed, another file.
        eos: weight of the end of the turn after a sentence; 0 never ends by itself (use num_predict).
    """
    words = _learn_vocabulary()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*words.tokens, *specials]
    end_of_turn = len(tokens) - 1
    end_of_text = len(words.tokens)
    out = _ModelFile(path, "llama", seed)
    meta = out.meta
    meta.add_context_length(8192)
    meta.add_feed_forward_length(WIDTH)
    meta.add_head_count_kv(HEADS // 2)
    meta.add_layer_norm_rms_eps(1e-5)
    meta.add_rope_dimension_count(64)
    meta.add_rope_freq_base(10000.0)
    meta.add_vocab_size(len(tokens))
    meta.add_tokenizer_model("gpt2")
    meta.add_tokenizer_pre("gpt-2")
    meta.add_token_list(tokens)
    meta.add_token_types([gguf.TokenType.NORMAL] * end_of_text + [gguf.TokenType.CONTROL] * len(specials))
    meta.add_token_merges([" ".join(pair) for pair in words.merges])
    meta.add_bos_token_id(end_of_text)
    meta.add_eos_token_id(end_of_turn)
    meta.add_pad_token_id(end_of_text)
    meta.add_add_bos_token(False)  # noqa: FBT003 - gguf's own signature
    meta.add_add_space_prefix(False)  # noqa: FBT003 - gguf's own signature
    meta.add_chat_template(CHATML)

    # Orthogonal rows: the output layer can then hold the table of successors exactly.
    basis = np.linalg.qr(out.random(WIDTH, len(tokens), scale=1.0).astype(np.float64))[0]
    embedding = (basis.T * np.sqrt(WIDTH)).astype(np.float32)
    output = out.random(len(tokens), WIDTH)
    for token, successors in enumerate(_successors(words, end_of_turn, eos)):
        total = sum(successors.values())
        for successor, count in successors.items():
            output[successor] += (SHARPNESS + np.log(count / total)) * embedding[token] / WIDTH
    out.add("token_embd.weight", embedding)
    out.add("output_norm.weight", np.ones(WIDTH, np.float32))
    out.add("output.weight", output)
    _add_llama_blocks(out)
    out.close()


def write_embedding_model(path: Path, *, seed: int) -> None:
    """Writes a bert-architecture model that embeds and refuses to generate."""
    characters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-:;()"
    words = sorted({word for word in re.findall(r"[a-z]+", TEXT.lower()) if len(word) > 1})
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # In GGUF a word's start carries U+2581, its continuations are bare.
    tokens = [*specials, *("\u2581" + c for c in characters), *characters, *("\u2581" + word for word in words)]
    out = _ModelFile(path, "bert", seed)
    meta = out.meta
    meta.add_context_length(512)
    meta.add_feed_forward_length(4 * WIDTH)
    meta.add_layer_norm_eps(1e-12)
    meta.add_causal_attention(False)  # noqa: FBT003 - gguf's own signature
    meta.add_pooling_type(gguf.PoolingType.MEAN)
    meta.add_tokenizer_model("bert")
    meta.add_tokenizer_pre("jina-v2-en")
    meta.add_token_list(tokens)
    plain = len(tokens) - len(specials)
    meta.add_token_types([gguf.TokenType.CONTROL] * len(specials) + [gguf.TokenType.NORMAL] * plain)
    meta.add_token_type_count(2)
    for add_id, token in (
        (meta.add_pad_token_id, "[PAD]"),
        (meta.add_unk_token_id, "[UNK]"),
        (meta.add_bos_token_id, "[CLS]"),
        (meta.add_eos_token_id, "[SEP]"),
        (meta.add_sep_token_id, "[SEP]"),
        (meta.add_mask_token_id, "[MASK]"),
    ):
        add_id(specials.index(token))
    out.add("token_embd.weight", out.random(len(tokens), WIDTH, scale=1.0))
    out.add("token_types.weight", out.random(2, WIDTH), exact=True)
    out.add("position_embd.weight", out.random(512, WIDTH), exact=True)
    _add_norm(out, "token_embd_norm")
    _add_bert_blocks(out)
    out.close()


def _learn_vocabulary() -> Vocabulary:
    alphabet = _byte_characters()
    pieces = re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+", TEXT)
    words = [[alphabet[byte] for byte in piece.encode()] for piece in pieces]
    merges: list[tuple[str, str]] = []
    while len(merges) < MERGES and (pairs := Counter(pair for word in words for pair in pairwise(word))):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in words:
            _merge(word, best)
    tokens = list(dict.fromkeys([*alphabet, *("".join(pair) for pair in merges)]))
    ids = {token: number for number, token in enumerate(tokens)}
    return Vocabulary(tokens, merges, [ids[token] for word in words for token in word])


def _byte_characters() -> list[str]:
    """GPT-2's visible character for each byte."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = (chr(256 + n) for n in range(256))
    return [chr(byte) if byte in visible else next(hidden) for byte in range(256)]


def _merge(word: list[str], pair: tuple[str, str]) -> None:
    at = 0
    while at < len(word) - 1:
        if (word[at], word[at + 1]) == pair:
            word[at : at + 2] = ["".join(pair)]
        at += 1


def _successors(words: Vocabulary, end_of_turn: int, eos: float) -> list[dict[int, float]]:
    """What may follow each token, and how often: the bigrams of the text, and the end of the turn."""
    tokens, text = words.tokens, words.text
    follows: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for token, successor in pairwise(text):
        follows[token][successor] += 1
    ends = {number for number, token in enumerate(tokens) if token in {".", "?", "!"}}
    first_words = sorted({text[0]} | {after for before, after in pairwise(text) if before in ends})
    word_starts = {token for token in text if tokens[token].startswith("Ġ")}
    scattered = sorted(word_starts, key=lambda token: token * 2654435761 % 1009)
    may_end = ends | set(scattered[:WORDS_THAT_MAY_END_A_TURN])
    newline = tokens.index("Ċ")
    table: list[dict[int, float]] = []
    for token in range(end_of_turn + 1):
        row: dict[int, float] = dict(follows[token])
        if token == newline:  # the prompt ends in one: begin a sentence
            row = dict.fromkeys(first_words, 1)
        elif not row:  # never seen in the text: go on anywhere in it
            row = {text[token % len(text)]: 1}
        if eos > 0 and token in may_end:
            row[end_of_turn] = eos * sum(row.values())
        table.append(row)
    return table


def _add_llama_blocks(out: _ModelFile) -> None:
    small = 0.02 / np.sqrt(WIDTH)  # the residual branches stay small beside the embedding: the bigrams decide
    for block in range(BLOCKS):
        prefix = f"blk.{block}."
        out.add(prefix + "attn_norm.weight", np.ones(WIDTH, np.float32))
        out.add(prefix + "ffn_norm.weight", np.ones(WIDTH, np.float32))
        out.add(prefix + "attn_q.weight", out.random(WIDTH, WIDTH))
        out.add(prefix + "attn_k.weight", out.random(WIDTH // 2, WIDTH))
        out.add(prefix + "attn_v.weight", out.random(WIDTH // 2, WIDTH))
        out.add(prefix + "attn_output.weight", out.random(WIDTH, WIDTH, scale=small))
        out.add(prefix + "ffn_gate.weight", out.random(WIDTH, WIDTH))
        out.add(prefix + "ffn_up.weight", out.random(WIDTH, WIDTH))
        out.add(prefix + "ffn_down.weight", out.random(WIDTH, WIDTH, scale=small))


def _add_bert_blocks(out: _ModelFile) -> None:
    inner = 4 * WIDTH
    shapes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH))
    shapes |= {"ffn_up": (inner, WIDTH), "ffn_down": (WIDTH, inner)}
    for block in range(BLOCKS):
        for name, shape in shapes.items():
            out.add(f"blk.{block}.{name}.weight", out.random(*shape))
            out.add(f"blk.{block}.{name}.bias", np.zeros(shape[0], np.float32))
        _add_norm(out, f"blk.{block}.attn_output_norm")
        _add_norm(out, f"blk.{block}.layer_output_norm")


def _add_norm(out: _ModelFile, name: str) -> None:
    out.add(f"{name}.weight", np.ones(WIDTH, np.float32))
    out.add(f"{name}.bias", np.zeros(WIDTH, np.float32))

"""Token bytes out of a `tokenizer.json`, so that the device decodes by concatenation alone."""

from __future__ import annotations

import json

from tokenizers import Tokenizer

from .errors import ExportError


def byte_of_character() -> dict[str, int]:
    """GPT-2's byte-level alphabet inverted: the character that stands for each byte -> the byte.

    Printable Latin-1 stands for itself; the other 68 bytes got U+0100 and up, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    mapping = {chr(byte): byte for byte in printable}
    rest = [byte for byte in range(256) if byte not in set(printable)]
    mapping.update({chr(0x100 + i): byte for i, byte in enumerate(rest)})
    return mapping


def token_bytes(tokenizer: Tokenizer, count: int) -> list[bytes]:
    """The bytes of tokens 0 to count - 1 of a byte-level BPE; empty for special and unused ids."""
    description = json.loads(tokenizer.to_str())
    if not _is_byte_level(description.get("decoder")):
        raise ExportError(
            "the Y-Decoder's tokenizer is no byte-level BPE", "its decoder must be ByteLevel"
        )
    if tokenizer.get_vocab_size() > count:
        raise ExportError(
            f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the Y-Decoder only {count}"
        )
    added = {token["id"]: token for token in description.get("added_tokens", [])}
    alphabet = byte_of_character()
    tokens = []
    for i in range(count):
        text = tokenizer.id_to_token(i)
        if text is None or (i in added and added[i]["special"]):
            tokens.append(b"")
        elif i in added:  # kept as it is written
            tokens.append(text.encode())
        else:
            try:
                tokens.append(bytes(alphabet[character] for character in text))
            except KeyError as error:
                raise ExportError(f"token {i} {text!r} is not byte-level: {error}") from error
    return tokens


def _is_byte_level(decoder: dict[str, object] | None) -> bool:
    if decoder is None:
        return False
    parts = decoder.get("decoders")
    if decoder.get("type") == "Sequence" and isinstance(parts, list):
        return any(part.get("type") == "ByteLevel" for part in parts)
    return decoder.get("type") == "ByteLevel"

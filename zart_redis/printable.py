"""Text from outside as it may be shown: control characters are escaped."""

from typing import Final

_CONTROLS: Final = (*range(0x20), 0x7F, *range(0x80, 0xA0))
_ESCAPES: Final = {code: repr(chr(code))[1:-1] for code in _CONTROLS}
_ESCAPES_IN_LINES: Final = {code: text for code, text in _ESCAPES.items() if code not in (0x09, 0x0A)}
_ESCAPES_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x7F}


def has_controls(text: str) -> bool:
    """Whether there are control characters (C0, DEL or C1) in the text."""
    return not text.isprintable() and any(ord(character) in _ESCAPES for character in text)


def printable(text: str) -> str:
    """One line of text that can do no harm to a terminal: newlines and tabs are escaped too."""
    return _encodable(text if text.isprintable() else text.translate(_ESCAPES))


def printable_lines(text: str) -> str:
    """The same, with newlines and tabs as they are."""
    return _encodable(text if text.isprintable() else text.translate(_ESCAPES_IN_LINES))


def printable_json(text: str) -> str:
    """JSON without the control characters that JSON leaves as they are."""
    return text if text.isprintable() else text.translate(_ESCAPES_IN_JSON)


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()

"""Text as every database can keep it."""


def clean(text: str) -> str:
    """`text` without NUL, and with what is no Unicode (a file's odd name) spelled out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "")

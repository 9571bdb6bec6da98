"""What makes two failures the same one: an error without what differs from one time to the next."""

import re

LONGEST = 200  # characters
VARYING = re.compile(r"\b0x[0-9a-f]+|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|\d+", re.IGNORECASE)


def signature(error: str) -> str:
    """Class and text of an error as one line; numbers, addresses and hexadecimal ids are `#`, the rest is cut."""
    return VARYING.sub("#", " ".join(error.split()))[:LONGEST]

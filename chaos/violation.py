"""What was found broken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A rule by its number in the design, the container or node it is about, and what is wrong."""

    rule: str
    about: str
    said: str

    def __str__(self):
        return f"{self.rule} {self.about}: {self.said}"

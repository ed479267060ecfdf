"""carryover: what every recipe of the collection shares."""

__version__ = "0.1.0"

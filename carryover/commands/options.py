"""What values of several commands' options hold."""

import math


def numbers_in(given: str) -> list[float]:
    """Finite numbers with commas between them; [] where one of them is none."""
    try:
        found = [float(word) for word in given.split(",")]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []

"""Is a tuned module faster than what PyTorch runs? Found out on the calls that come; pure: times in, a verdict out."""

from __future__ import annotations

from statistics import median

_TURNS = 3  # of each
_TURN = 3  # calls in a row: the first of them, which finds the other's threads still awake, is not counted


class Race:
    """Calls go to both, turn by turn, the tuned module first, until enough of each are timed."""

    def __init__(self) -> None:
        self._calls = 0
        self._secs: dict[bool, list[float]] = {True: [], False: []}

    def is_next_tuned(self) -> bool:
        """Whose turn the next call is: the module's, or PyTorch's."""
        return self._calls // _TURN % 2 == 0

    def count(self, seconds: float) -> None:
        """What the call took whose turn it was."""
        if self._calls % _TURN:
            self._secs[self.is_next_tuned()].append(seconds)
        self._calls += 1

    def is_won(self) -> bool | None:
        """Is the module the faster one, by medians; None: it isn't decided."""
        if self._calls < 2 * _TURN * _TURNS:
            return None
        return median(self._secs[True]) < median(self._secs[False])

    def __str__(self) -> str:
        tuned, plain = self._secs[True], self._secs[False]
        times = f"{median(tuned) * 1e3:.3g} ms a call, PyTorch takes {median(plain) * 1e3:.3g}"
        return f"it takes {times}, medians of {len(tuned)} each in turns"

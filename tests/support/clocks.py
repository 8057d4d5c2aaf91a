"""A clock that a test moves, and marks in the work of a device that it moves with."""


class Hand:
    """A clock that the test moves."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def move(self, seconds):
        self.seconds += seconds


class Mark:
    """An event of a device that lies behind: it comes to a mark when the test says so."""

    reached = 0
    made = 0
    slept = 0

    def __init__(self, hand):
        self.hand, self.at, self.number = hand, None, Mark.made
        Mark.made += 1

    @classmethod
    def forget(cls):
        """As if none had been made."""
        cls.reached = cls.made = cls.slept = 0

    def record(self):
        self.at = self.hand()

    def query(self):
        return self.number < Mark.reached

    def synchronize(self):
        Mark.slept += 1

    def elapsed_time(self, end):
        return 1000 * (end.at - self.at)

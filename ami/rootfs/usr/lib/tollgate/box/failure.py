"""What went wrong, in words for whoever is paged."""


class Failure(Exception):
    """Could not be done now; another try may succeed. Its text says what to look at."""


class Mistake(Failure):
    """The settings are wrong: no try succeeds before somebody corrects them."""


class Ended(Exception):
    """A signal ended the run. No `Failure`, which is taken for an answer here and there."""

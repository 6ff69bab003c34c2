"""Sections with something that is done at intervals."""


class Periodic:
    """Mixin of a section whose setting `every` counts rounds or steps from one time to the next."""

    every: int

    def is_due(self, number: int, last: int) -> bool:
        """Returns True if it is done after a round or step.

        Args:
          number: Number of the round or step; 0 for the start.
          last: Number of the last one, which is due in any case.
        """
        return number % self.every == 0 or number == last

"""Types that tests put in sessions."""


class Promise:
    """Stands for Django's lazy strings: recognised by the name of the class."""

    def __str__(self) -> str:
        return "translated"


class Thing:
    pass

"""What a parser raises for a file that is whole, and that it does not read all the same."""


class Refused(ValueError):
    """The file must be converted or its options set; leaving it out would hide that."""

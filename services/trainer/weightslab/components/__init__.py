"""Names that older scripts import from here."""

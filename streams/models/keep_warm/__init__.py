"""How many instances of one constituent to keep, by its own past; what users will ask is not known here."""

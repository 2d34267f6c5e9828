"""The rules of a pool wherever its instances run: commands, room, starts, the standard path."""

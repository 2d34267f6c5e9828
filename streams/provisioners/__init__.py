"""What carries commands out; nothing here decides what is worth keeping warm."""

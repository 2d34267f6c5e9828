"""What carries commands out: one interface (`base`), local child processes behind it (`local`)."""

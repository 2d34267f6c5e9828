"""What takes long to import, and is large: it says who has done it."""

import os
import time

time.sleep(0.5)
HELD = bytearray(os.urandom(1024 * 1024)) * 64
LOADED_BY = os.getpid()

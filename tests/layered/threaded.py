"""What must not be imported by what forks."""

import threading
import time

threading.Thread(target=time.sleep, args=(60,), daemon=True, name="housekeeper").start()

"""foremesh: learns which composite service each user asks for next, and keeps it warm.

::

    requests -> profiler -> predictions -> aggregator -> demand -> allocator -> commands
        ^          ^                           ^                       ^            |
        |          |                           |                  utilisation       v
        |          +-------- feedback <--------+                       +------ provisioner
        |                       ^                                                   |
        |                   feedback                                            instances
        |                       ^                                                   v
        +-------------------- outcomes <-------------------------------------- interceptor

anything that cannot be read or used -> dead-letters
"""

"""The policy pack: what every resource of a stack is held to.

Rules are plain data and functions, one noun a file, and need no policy SDK: the command line and
the generated page read them as they are. `pack` turns them into Pulumi's policies; `__main__`,
which the engine starts, alone serves them.
"""

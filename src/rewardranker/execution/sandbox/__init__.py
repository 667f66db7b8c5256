"""What runs in the judge's own processes: standard library only, imported without the rest of the package.

    ProgramJudge (user's process)
      └ worker      trusted, one a core: takes items, decides deadlines, composes verdicts
          ├ tester      runs the tests of Python functions; the only process that knows the expected values
          └ zygote      trusted and clean, inside bubblewrap at level A: never reads a program or a test; forks
              ├ candidate   confined; runs a Python program and answers calls with plain data, or becomes a compiler
              │             or a compiled program (`command`)
              └ candidate   at level A: the next one for a Python program, which stands ready (`spares`)
          └ zygote of a server, if a language has one
              └ candidate   a compiler or runtime that stays warm (`servers`)

The worker and the zygotes are fresh interpreters (not forks of the user's process). Tester and candidate share one
socket per program, made by the worker and handed over as a file descriptor.
"""

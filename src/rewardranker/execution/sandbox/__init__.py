"""What runs in the judge's own processes: standard library only, imported without the rest of the package.

    PythonJudge (user's process)
      └ worker      trusted, one a core: takes items, decides deadlines, composes verdicts
          ├ tester      forked for each program: runs the tests; the only process that knows the expected values
          └ zygote      trusted and clean: never reads a program or a test; forks
              └ candidate   runs the program under limits, answers calls with plain data

The worker and the zygote are fresh interpreters (not forks of the user's process). Tester and candidate share one
socket per program, made by the worker and handed over as a file descriptor.
"""

"""The stack of `ami/`: template, rights, alarms, dashboards, runbooks, the drain.

    target/box/bin/python -m unittest discover --start-directory tests/stack --top-level-directory .

Each module is one subject; `make test-stack` runs them all.
"""

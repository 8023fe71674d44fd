"""Waiting for what happens in another process or thread, with the patience a busy machine needs."""

import time

PATIENCE = 200.0  # seconds


def wait_for(happened, what="it"):
    """Wait until a condition holds; give what it was.

    `what`, words or a function that gives them, says what was waited for in vain.
    """
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited for {what() if callable(what) else what}")
        time.sleep(0.02)
    return found


def wait_while(process, happened):
    """The same, of what happens only while a process goes on."""

    def found():
        assert process.poll() is None, f"it ended with {process.poll()}"
        return happened()

    return wait_for(found, "what a process does")


def until(page, happened):
    """Tick a page, as its server would, until a condition holds."""

    def ticked():
        page.tick()
        return happened()

    wait_for(ticked, lambda: (page.session.status(), page.bench.notice))

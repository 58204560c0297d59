"""Looking at processes: what the tests see of one is what it is, at whatever moment they look."""

import subprocess

from processes import look


def test_a_process_that_has_just_been_started_has_its_words() -> None:
    """In the middle of its exec it has none: of a hundred that were looked at then, five to nine were seen so."""
    for _ in range(100):
        with subprocess.Popen(["sleep", "600"]) as started:
            found = look(started.pid)
            started.kill()
        assert found is not None
        assert found.words == "sleep 600"
        assert look(started.pid) is None

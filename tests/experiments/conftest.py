"""What the tests of several experiments do."""

import pytest

from experiments.__main__ import main
from experiments.study.progress import SweepProgress


@pytest.fixture
def interrupt(monkeypatch):
    """Runs a command, and interrupts it when a training of this name reports first."""
    real = SweepProgress.advanced

    def interrupted(command, name):
        def advanced(self, trained, progress):
            if trained == name:
                raise KeyboardInterrupt
            real(self, trained, progress)

        with monkeypatch.context() as patch:
            patch.setattr(SweepProgress, "advanced", advanced)
            assert main(command) == 130

    return interrupted

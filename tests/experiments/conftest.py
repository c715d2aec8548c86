"""What the tests of several experiments do."""

import matplotlib
import pytest

from experiments.__main__ import main
from experiments.study import report
from experiments.study.progress import SweepProgress


@pytest.fixture(scope="module", autouse=True)
def coarse_figures(request):
    """Writes the figures of runs as small PNG files only, unless the file of tests says EVERY_FORMAT = True."""
    with pytest.MonkeyPatch.context() as patch:
        if not getattr(request.module, "EVERY_FORMAT", False):
            patch.setattr(report, "FORMATS", {"png": {}})
            patch.setitem(matplotlib.rcParams, "savefig.dpi", 50)
        yield


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

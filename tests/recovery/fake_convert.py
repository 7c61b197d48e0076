"""``convert.py`` with the fake converter, in a process of its own: ``fake_convert.py key=value ...``."""

import sys

from omegaconf import OmegaConf

from soma_isaac.pipelines import command, convert
from tests.recovery.fake_run import FAKE

if __name__ == "__main__":
    real = convert.run_convert
    command.run_convert = lambda config, stream: real(config, stream, FAKE)  # type: ignore[assignment]
    # An edit of the real converter between two runs of one test is not what these tests are about.
    convert.code_digest = lambda *_: "fake"
    sys.exit(command.convert_command(OmegaConf.from_dotlist(sys.argv[1:])))

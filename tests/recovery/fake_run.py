"""The real command with the fake converter, in a process of its own: ``fake_run.py key=value ...``."""

import os
import sys

from omegaconf import OmegaConf

from soma_isaac.batch import stop
from soma_isaac.pipelines import command, g1_refs

FAKE = "tests.recovery.fake_converter:convert"

if __name__ == "__main__":
    stop.GRACE_S = float(os.environ.get("SOMA_ISAAC_GRACE_S", stop.GRACE_S))
    real = g1_refs.run_g1_refs
    command.run_g1_refs = lambda config, stream: real(config, stream, FAKE)  # type: ignore[assignment]
    # An edit of the real converter between two runs of one test is not what these tests are about.
    g1_refs.code_digest = lambda *_: "fake"
    sys.exit(command.g1_refs_command(OmegaConf.from_dotlist(sys.argv[1:])))

"""Write data/SOMA_regressor.npz anew, after a change of the template rig or of the shape space's segments."""

from pathlib import Path

from soma_isaac.pipelines.regressor import build_regressor

if __name__ == "__main__":
    print(build_regressor(Path(__file__).resolve().parents[1] / "data"))

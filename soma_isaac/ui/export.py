"""The panel's export."""

from __future__ import annotations

from pathlib import Path

from soma_isaac.errors import InputRejected
from soma_isaac.ui.choices import POSED, STILL_POSES, TEMPLATE, PreviewRequest


def write_body(request: PreviewRequest, path: str, overwrite: bool) -> str:
    """Export what a request shows; one line about the file.

    Args:
        request: The body, and the clip or pose.
        path: The file; its suffix says what: .usd, .usda, .usdc, .glb, or .npz for the motion alone.
        overwrite: It may take the place of another file.

    Raises:
        InputRejected: No file is named, or the export refused what it was given.
        SomaError: The export refused; the message says why.
        OSError: The disk refused.
    """
    # Hydra's configuration comes with them; the panel shall open without it.
    from soma_isaac.pipelines.body_config import SUFFIXES, BodyExportConfig
    from soma_isaac.pipelines.body_export import export_body

    # Whole, because nobody sees which folder the application works in.
    file = Path(path).expanduser().absolute()
    if not path or file.suffix.lower() not in SUFFIXES:
        raise InputRejected(f"name a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}", path or None)
    if request.posed:
        return _write_posed(request, file, overwrite)
    body = request.body
    coefficients = None if body.coefficients is None else list(body.coefficients)
    report = export_body(
        BodyExportConfig(
            motion=None if request.clip is None else request.clip.path,
            pose=None if request.clip is not None else ("t" if request.still == STILL_POSES[0] else "bind"),
            output=str(file),
            lod=body.lod,
            identity=body.backend,
            preset=body.preset,
            coefficients=coefficients if body.backend != TEMPLATE else None,
            groups={name: list(values) for name, values in body.groups},
            assets=body.assets if body.backend != TEMPLATE and body.preset is None else None,
            scale=body.size,
            replace=overwrite,
        )
    )
    left_out = " without pose correctives, which a skin cannot hold" if body.correctives else ""
    return f"{report.path} {report.state}{left_out}: {report.frame_count} frames, {report.byte_count / 1e6:.1f} MB."


def _write_posed(request: PreviewRequest, file: Path, overwrite: bool) -> str:
    """Export a body in the pose that its effectors ask for."""
    from soma_isaac.pipelines.pose_body import identity_body
    from soma_isaac.pipelines.pose_files import encoded
    from soma_isaac.pipelines.single_run import write_results
    from soma_isaac.ui.posing_solve import posed_motion

    body = request.body
    shown = identity_body(
        body.backend,
        named=body.preset,
        coefficients=None if body.coefficients is None or body.backend == TEMPLATE else list(body.coefficients),
        groups={name: list(values) for name, values in body.groups},
        scale=body.size,
        lod=body.lod,
        assets=body.assets if body.backend != TEMPLATE and body.preset is None else None,
    )
    motion = posed_motion(request.effectors, shown.identity, float(shown.motion_identity.rest_offsets[1, 1]))
    data = encoded(shown, motion, file.suffix.lower().removeprefix("."), (POSED,))
    return f"{write_results([(file, data)], overwrite)[0]}."

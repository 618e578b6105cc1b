"""A built wheel carries everything that a scan needs, without the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.command import ROOT, environment


def test_the_wheel_alone_scans_fresh_demo_data(tmp_path: Path) -> None:
    # Built from a copy: setuptools would leave, and later reuse, a build directory in the checkout.
    copy = tmp_path / "checkout"
    for folder in ("audit", "sql", "reports"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", copy]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    outside = environment({"PYTHONPATH": str(site)})
    found = subprocess.run(
        [sys.executable, "-c", "import audit; print(audit.__file__)"],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env=outside,
    ).stdout.decode()
    assert str(site) in found
    make = ["audit.demo.world", "--rows", "40", "--seed", "7", "--output", "d.jsonl", "--labels", "l.jsonl"]
    commands = (
        ["audit", "traits", "check", "evil"],
        ["audit", "traits", "check", "sycophantic", "--demo"],
        make,
        ["audit", "scan", "d.jsonl"],
        ["audit", "query", "d.audit", "--name", "flagged"],
    )
    for arguments in commands:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, cwd=tmp_path, env=outside, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

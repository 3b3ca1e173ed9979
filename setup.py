"""Puts into the wheel what is small of the data: the manifest of what is shipped, the paper's numbers, and
the verdicts on answers.

Everything else of ``data/`` is fetched by ``tts fetch``. All other settings stand in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithData(build_py):
    """build_py that also copies the manifest and two small folders of data/ to tts_utils/shipped/."""

    def run(self):
        super().run()
        if self.editable_mode:  # the clone's own data/ is read
            return
        target = Path(self.build_lib) / "tts_utils" / "shipped"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "data" / "manifest.json", target)
        for name in ("paper", "answers"):
            if not (ROOT / "data" / name).is_dir():
                continue
            shutil.copytree(ROOT / "data" / name, target / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})

"""Make a virtual environment from a requirements file, or leave it alone when it is up to date.

Called by the Makefile with the standard library only. The environment carries a stamp: a hash of the
requirements, of every file they point to, of the package's own metadata and of the Python that made it.
A half-made environment has no stamp and is made again.
"""

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def read_requirements(path: Path) -> list[tuple[Path, str]]:
    """Return (path, text) of a requirements file and of the files its ``-r`` and ``-c`` lines name."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"^-[rc]\s+(\S+)", text, flags=re.MULTILINE)
    return [(path, text)] + [found for name in named for found in read_requirements(path.parent / name)]


def fingerprint(requirements: Path) -> str:
    """Hash what decides the contents of the environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [text for _, text in read_requirements(requirements)]
    parts += [repr((project["build-system"], project["project"])), sys.executable, platform.python_version()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def torch_pin(requirements: Path) -> str | None:
    """Return the pin of a CPU build of torch ("torch==2.13.0+cpu") that applies here, or None."""
    found = re.search(
        r"^(torch==\S+\+cpu)\s*;\s*sys_platform == \"linux\"", requirements.read_text(), re.MULTILINE
    )
    return found[1] if found and sys.platform == "linux" else None


def pip(python: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run pip in the environment and keep what it says."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def must(result: subprocess.CompletedProcess, what: str) -> None:
    """Stop with pip's last lines when it failed."""
    if result.returncode:
        tail = "\n".join(
            line for line in result.stdout.splitlines() if "is ignored: it is neither" not in line
        )
        sys.exit(
            f"{tail[-4000:]}\n"
            f"Could not install {what}; pip's message is above. Is there a network, and room on the disk?"
        )


def install_cpu_torch(python: Path, pin: str) -> None:
    """Install torch's CPU build from where pip is set up to look, else from PyTorch's own index."""
    first = pip(python, "--no-deps", "--retries", "1", pin)
    if first.returncode == 0:
        return
    second = pip(python, "--no-deps", "--retries", "1", "--index-url", CPU_WHEELS, pin)
    if second.returncode:
        sys.exit(
            f"pip as it is set up here:\n{first.stdout[-1500:]}\n"
            f"pip with {CPU_WHEELS}:\n{second.stdout[-1500:]}\n"
            f"No {pin} for Python {platform.python_version()} on {platform.machine()}: "
            f"neither where pip is set up to look nor PyTorch's index of CPU wheels has it in reach.\n"
            f"Ways out: check the network; or put the wheel in a folder and set PIP_FIND_LINKS to it; or try "
            f"another Python (make test PYTHON=python3.12). `make book` needs no torch."
        )


def size_in_mb(folder: Path) -> float:
    """Return the size of the files below a folder in megabytes (1e6 bytes), symbolic links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def main() -> None:
    """Make or refresh one environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument(
        "--no-package", action="store_true", help="do not install this repository's own package"
    )
    options = parser.parse_args()
    folder, requirements = ROOT / options.folder, ROOT / options.requirements
    stamp, wanted = folder / "stamp", fingerprint(requirements)
    if stamp.is_file() and stamp.read_text() == wanted:
        return

    start = time.monotonic()
    print(
        f"Making {options.folder} from {options.requirements} with Python {platform.python_version()} ...",
        flush=True,
    )
    if folder.exists():
        shutil.rmtree(folder)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], text=True, capture_output=True)
    if made.returncode:
        sys.exit(
            f"{made.stdout}{made.stderr}\n{sys.executable} cannot make a virtual environment (message above)."
        )
    python = folder / "bin" / "python"
    if pin := torch_pin(requirements):
        install_cpu_torch(python, pin)
    must(pip(python, "-r", str(requirements)), str(options.requirements))
    if not options.no_package:
        must(pip(python, "--no-deps", "--editable", str(ROOT)), "the package tts_utils itself")
    stamp.write_text(wanted)
    print(f"Made {options.folder} in {time.monotonic() - start:.0f} s, {size_in_mb(folder):.0f} MB.")


if __name__ == "__main__":
    main()

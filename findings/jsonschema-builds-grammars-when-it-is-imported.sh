#!/usr/bin/env bash
# Importing altair 6.3.0 takes several times as long once JupyterLab's dependencies are installed beside it.
#
# Expected: an import costs what it did before, whatever else is installed. Found: nbformat and jupyter-events ask for the extra
# jsonschema[format-nongpl]; with jsonschema 4.26.0 that brings rfc3987-syntax 1.1.0, which jsonschema imports at once, for a check
# of internationalised addresses; and that builds some thirty Lark grammars as it is imported. altair imports jsonschema.
# Matters: about one CPU second in every kernel and every command that draws a chart or reads a notebook; a book of fifteen
# notebooks pays it fifteen times and more.
# Here: constraints.txt holds jsonschema at 4.23.0, whose extra does not bring it.
# Upstream: https://github.com/python-jsonschema/jsonschema/issues/1428
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "altair==6.3.0" "jsonschema==4.26.0"
cat > "$folder/seconds.py" <<'PYTHON'
import subprocess, sys, time
from resource import RUSAGE_CHILDREN, getrusage

def seconds():
    before = getrusage(RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-c", "import altair"], check=True)
    return getrusage(RUSAGE_CHILDREN).ru_utime - before

seconds()  # compiles
print(min(seconds() for _ in range(5)))
PYTHON
alone=$("$folder/venv/bin/python" "$folder/seconds.py")
"$folder/venv/bin/pip" install --quiet "jsonschema[format-nongpl]==4.26.0" "rfc3987-syntax==1.1.0"
beside=$("$folder/venv/bin/python" "$folder/seconds.py")
echo "import altair: $alone CPU s alone, $beside CPU s with jsonschema[format-nongpl] installed (least of five)"
"$folder/venv/bin/python" -c "import sys; sys.exit(not float(sys.argv[2]) > 2 * float(sys.argv[1]))" "$alone" "$beside"

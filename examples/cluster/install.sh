#!/bin/sh
# What the image is made of, for a machine without containers too: installs the package of this folder (or of the one
# above it) into an environment, by its constraints.
#
#   python3 -m venv ENV && sh examples/cluster/install.sh ENV/bin/python
#
# TORCH_INDEX: index of torch's builds, such as https://download.pytorch.org/whl/cu126; empty: pip's own.
# EXTRAS: extras of the package (default: dicom,cluster).
set -eu
python=${1:-python3}
extras=${EXTRAS-dicom,cluster}
here=$(cd "$(dirname "$0")" && pwd)
while [ ! -f "$here/constraints.txt" ]; do
    [ "$here" != / ] || { echo "install.sh: no constraints.txt above $0. Run it from a copy of the repository." >&2; exit 2; }
    here=$(dirname "$here")
done
torch=$(grep '^torch==' "$here/constraints.txt")
"$python" -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
"$python" -m pip install --no-cache-dir -c "$here/constraints.txt" "$here${extras:+[$extras]}"

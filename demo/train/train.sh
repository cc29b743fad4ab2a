#!/bin/sh
# Trains the embedded demo model anew into demo/ (about an hour on two cores). Needs python3 with PyTorch:
# on Debian, apt-get install python3-torch libopenblas0-pthread.
set -eu
cd "$(dirname "$0")"
PYTHON="${PYTHON:-python3}"
OUT="${1:-$(mktemp -d)}"
"$PYTHON" train_model.py "$OUT"
"$PYTHON" train_dictionaries.py "$OUT"
"$PYTHON" heldout.py "$OUT"
rm -rf ../model ../saes
cp -R "$OUT/model" "$OUT/saes" "$OUT/heldout.jsonl" ..
echo "now run: npm run demo:quality"

# shellcheck shell=bash disable=SC2034,SC2154
# supervisor: lib/, to be put on PYTHONPATH of the host's Python 3: python3 -m supervisor.supervisord. Pure Python without dependencies.
versions=(4.3.0)
# Its own licence has BSD's three clauses and a fourth on modified files; the parts from Medusa and RDFLib are under the others.
licence="BSD-3-Clause-Modification AND BSD-3-Clause AND HPND"
kind=tool
arch=any

build() {
    local python said
    timeout 10m python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes --requirement "$pinned/requirements.txt" --dest "$work/wheel"
    python3 -m zipfile -e "$work/wheel/supervisor-$version-py2.py3-none-any.whl" "$1/lib"

    # With the Python of this machine's PATH and the system's, which hosts have. -S: nothing installed beside it may help.
    for python in python3 /usr/bin/python3; do
        if ! command -v "$python" >/dev/null; then continue; fi
        said=$(PYTHONPATH="$1/lib" PYTHONDONTWRITEBYTECODE=1 "$python" -S -m supervisor.supervisord --version)
        [[ $said == "$version" ]] || die "$python -m supervisor.supervisord --version says \"$said\", expected $version"
    done
}

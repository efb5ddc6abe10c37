# shellcheck shell=bash disable=SC2154
# What a recipe may call. scripts/packages sources it and sets the variables: $name, $version, $recipe (the package's folder here),
# $pinned (the version's folder in it), $work (a folder to work in, removed afterwards), $cache, $locking.

# Runs the version's pom.xml and puts the jars it gathers into folder $1.
# One Maven at a time: version 3 does not lock its local repository against another process.
maven_libs() {
    mkdir "$work/maven"
    cp "$pinned/pom.xml" "$work/maven"
    flock "$cache/maven.lock" timeout 20m mvn --batch-mode --quiet -Dstyle.color=never --file "$work/maven/pom.xml" package
    mv "$work/maven/target/libs" "$1"
}

# Downloads packages (name=version) into the working directory, without root and without installing them.
debian_download() {
    local own=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/apt" -o "APT::Sandbox::User=$(id -un)")
    if timeout 10m apt-get -q -o "APT::Sandbox::User=$(id -un)" download "$@"; then return; fi
    # The machine's lists are old or were never fetched. Lists of our own need no root, and leave the machine's as they are.
    mkdir -p "$work/lists/partial" "$work/apt/archives/partial"
    timeout 10m apt-get -q "${own[@]}" update
    timeout 10m apt-get -q "${own[@]}" download "$@"
}

# Fails unless folder $1 holds exactly the files in the version's sources.sha256. Versions are pinned where they are asked for; this
# pins the bytes too, of everything that came along.
matches_lock() {
    local lock=$pinned/sources.sha256 found
    found=$(cd "$1" && sha256sum -- *)
    if [[ -n $locking ]]; then printf '%s\n' "$found" >"$lock"; fi
    diff -u --label "sources.sha256" --label "downloaded now" "$lock" <(printf '%s\n' "$found") ||
        die "what was downloaded is not what $lock expects (above). If the change is wanted: scripts/packages --lock $name@$version"
}

#!/bin/sh
# Installs crtmpserver under a prefix, without packages; and takes it away again.
#
#   packaging/install.sh PREFIX
#   packaging/install.sh PREFIX --remove
#
# Program, configuration, units, manual pages and completions go to PREFIX/bin, PREFIX/etc/crtmpserver
# (/etc/crtmpserver when PREFIX is /usr), PREFIX/lib and PREFIX/share. A configuration that was edited
# is kept, by both. DESTDIR is put before each path, as make does. PROGRAMS is the folder with
# crtmpserver and examples/completions; without it cargo builds them.
set -eu

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 64
}
if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "${2:---remove}" != --remove ]; then usage; fi
case $1 in
/) prefix='' ;;
/*) prefix=${1%/} ;;
*) usage ;;
esac
case $prefix in
/usr | '') configuration=/etc/crtmpserver ;;
*) configuration=$prefix/etc/crtmpserver ;;
esac
destination=${DESTDIR:-}
# What was installed, and the sums of the configuration as it was then.
manifest=$destination$prefix/share/crtmpserver/manifest

# edited FILE: whether it is another than was installed.
edited() {
    sum=$(sed -n "s|^\([0-9a-f]\{64\}\) $1\$|\1|p" "$manifest" 2>/dev/null)
    [ -n "$sum" ] && [ "$(sha256sum <"$destination$1")" != "$sum  -" ]
}

if [ $# -eq 2 ]; then
    [ -f "$manifest" ] || {
        echo "packaging/install.sh: there is no $manifest; nothing was installed under $1" >&2
        exit 66
    }
    sed 's/^[0-9a-f]\{64\} //' "$manifest" | while read -r file; do
        if [ -f "$destination$file" ] && edited "$file"; then
            echo "kept, since it was edited: $destination$file"
        else
            rm -f "$destination$file"
        fi
    done
    folders=$(sed -e 's/^[0-9a-f]\{64\} //' -e 's|/[^/]*$||' "$manifest" | sort -ru)
    rm -f "$manifest"
    # Folders that are empty now, and those above them up to the prefix, go too.
    for folder in $folders "$prefix/share/crtmpserver"; do
        while [ -n "$folder" ] && [ "$folder" != "$prefix" ] && [ "$folder" != /etc ]; do
            rmdir "$destination$folder" 2>/dev/null || break
            folder=${folder%/*}
        done
    done
    exit 0
fi

cd "$(dirname "$0")/.."
if [ -z "${PROGRAMS:-}" ]; then
    cargo build --release --locked --bin crtmpserver --example completions
    PROGRAMS=${CARGO_TARGET_DIR:-target}/release
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "${manifest%/*}"
: >"$work/manifest"

# put MODE SOURCE FILE
put() {
    mkdir -p "$destination${3%/*}"
    install -m "$1" "$2" "$destination$3"
    echo "$3" >>"$work/manifest"
}
# put_configuration SOURCE FILE: one that was edited stays, and what is new lies beside it.
put_configuration() {
    mkdir -p "$destination${2%/*}"
    if [ -f "$destination$2" ] && { [ ! -f "$manifest" ] || edited "$2"; } && ! cmp -s "$1" "$destination$2"; then
        install -m 644 "$1" "$destination$2.new"
        echo "$2.new" >>"$work/manifest"
        echo "kept, since it was edited: $destination$2; the new one is $2.new"
    else
        install -m 644 "$1" "$destination$2"
    fi
    echo "$(sha256sum <"$1" | cut -c 1-64) $2" >>"$work/manifest"
}
# adapt SOURCE: a unit with this installation's paths. What is run from a folder that the sandbox hides
# is given that folder.
adapt() {
    top=$(echo "${prefix:-/}" | cut -d/ -f1-2)
    case $top in
    /home | /root) home=read-only ;;
    *) home=yes ;;
    esac
    sed -e "s|/usr/bin/crtmpserver|$prefix/bin/crtmpserver|g" \
        -e "s|/usr/share/crtmpserver|$prefix/share/crtmpserver|g" \
        -e "s|/etc/crtmpserver|$configuration|g" \
        -e "/^InaccessiblePaths=/s|[ =]-$top\$||; /^InaccessiblePaths=/s|-$top ||" \
        -e "s|^ProtectHome=yes|ProtectHome=$home|" "$1" >"$work/unit"
}

put 755 "$PROGRAMS/crtmpserver" "$prefix/bin/crtmpserver"
put_configuration etc/crtmpserver.toml "$configuration/crtmpserver.toml"
put_configuration packaging/debian/conf.d.README "$configuration/conf.d/README"
for unit in systemd/*.service systemd/*.socket; do
    adapt "$unit"
    put 644 "$work/unit" "$prefix/lib/systemd/system/${unit##*/}"
done
put 644 systemd/crtmpserver.sysusers "$prefix/lib/sysusers.d/crtmpserver.conf"
put 644 systemd/crtmpserver.tmpfiles "$prefix/lib/tmpfiles.d/crtmpserver.conf"
put 644 systemd/crtmpserver.preset "$prefix/lib/systemd/system-preset/80-crtmpserver.preset"
for file in systemd/profiles/*.conf; do
    adapt "$file"
    put 644 "$work/unit" "$prefix/share/crtmpserver/profiles/${file##*/}"
done
for file in systemd/nftables/*.nft; do
    adapt "$file"
    put 644 "$work/unit" "$prefix/share/crtmpserver/nftables/${file##*/}"
done
for page in man/*.[158]; do
    put 644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"
done
for file in etc/*.toml; do
    put 644 "$file" "$prefix/share/doc/crtmpserver/examples/${file##*/}"
done
for file in README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE; do
    put 644 "$file" "$prefix/share/doc/crtmpserver/$file"
done
for file in docs/*; do
    put 644 "$file" "$prefix/share/doc/crtmpserver/docs/${file##*/}"
done
"$PROGRAMS/examples/completions" "$work"
put 644 "$work/crtmpserver.bash" "$prefix/share/bash-completion/completions/crtmpserver"
put 644 "$work/_crtmpserver" "$prefix/share/zsh/site-functions/_crtmpserver"
put 644 "$work/crtmpserver.fish" "$prefix/share/fish/vendor_completions.d/crtmpserver.fish"
sort -u "$work/manifest" >"$manifest"

cat <<END
installed under ${prefix:-/}; once, as root:
    systemd-sysusers $prefix/lib/sysusers.d/crtmpserver.conf
    systemd-tmpfiles --create $prefix/lib/tmpfiles.d/crtmpserver.conf
END
case $prefix in
/usr | /usr/local) echo "    systemctl daemon-reload" ;;
*) echo "    systemctl link $prefix/lib/systemd/system/crtmpserver*.service $prefix/lib/systemd/system/crtmpserver*.socket" ;;
esac
echo "    systemctl enable --now crtmpserver.socket crtmpserver-http.socket crtmpserver-control.socket crtmpserver.service"

# Probe, bash: prints what a shell sees of the pod by itself; it cannot listen, so a child does, the program of the arguments.
# The lines are described in tests/matrix.py.
shopt -s dotglob
LC_ALL=C
echo "env $GREETING"
read -r line <"$PROBE_FILE"
echo "file $line"
cd "${PROBE_FILE%/*}" || exit
members=(*)
(IFS=, && echo "list ${members[*]}")
read -r size < <(wc -c <"${PROBE_FILE##*/}")
echo "cwd $PWD $size"
echo "child $(cd "${PROBE_FILE%/*}" && cat "${PROBE_FILE##*/}")"
read -r name < <(uname -n)
echo "host $name"
host=${PROBE_URL#http://} && path=${host#*/} && host=${host%%/*}
port=${host#*:} && [ "$port" = "$host" ] && port=80
exec 3<>"/dev/tcp/${host%:*}/$port"
printf 'GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n' "$path" "$host" >&3
while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
read -r line <&3
exec 3<&-
echo "call $line"
"$@"

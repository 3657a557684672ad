# Sourced by the scripts beside it; `python -m tests.cluster` sets D, NS and BUILD. Later calls with the same D remember the rest.
# Two clusters on one machine need two of D, NS and NET: XDG_CACHE_HOME=… NS=… NET=… python -m tests.cluster up
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "${0##*/}: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "run as root"
D=$(realpath -m "${D:?the folder of the state of this cluster, on a disk}")
[ ! -f "$D/settings" ] || . "$D/settings"
NS=${NS:?the name of the cluster}        # begins its network namespaces, host interface and cgroup
NET=${NET:-198.18.0}                     # nodes' network, a /24: node1 is $NET.1, node2 $NET.2, the developer's machine $NET.254
PODS=${PODS:-10.88}                      # pods' network, a /16: those of node1 are in $PODS.1.0/24
SERVICES=${SERVICES:-10.96}              # services' network, a /16
NET6=fdcc:${NET//./:}                    # the same by IPv6: node1 is $NET6::1, this machine $NET6::254; a /64
PODS6=fdcc:${PODS/./:}                   # a /48, a /64 of it for each node
SERVICES6=fdcc:${SERVICES/./:}           # a /112
NODES=${NODES:-1}                        # 1 or more
BUILD=$(realpath -m "${BUILD:?the folder of the built binary and images}")
kube=$BUILD/kube
export NS NET PODS SERVICES NET6 PODS6 SERVICES6 D kube
[[ $NS =~ ^[a-z0-9]{1,10}$ ]] || die "NS=$NS: 1 to 10 small letters or digits"
SYSCTLS="vm/overcommit_memory kernel/panic kernel/panic_on_oops"  # kubelet sets these on the whole machine
cgroup_mounts() { awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts; }
node_pids() { ip netns pids "$NS-node$1" 2>/dev/null || true; }  # all that runs in node $1, pods left out
networks=("$PODS.0.0/16" "$SERVICES.0.0/16" "$PODS6::/48" "$SERVICES6::/112")
metric=$((4294967000 + ${NET##*.}))      # of the routes that keep this machine from the pods: the weakest, and this cluster's own

#!/usr/bin/env bash
# Start the cluster described in vars.sh and wait until pods can run. A call while it runs only checks, and adds missing nodes.
set -euo pipefail
. "$(dirname "$0")/vars.sh"
[ -x "$kube" ] && [ -f "$BUILD/pause.img" ] || die "no $kube or $BUILD/pause.img: run python -m tests.cluster up"
for c in containerd ctr runc ip nft iptables openssl nsenter unshare; do command -v $c >/dev/null || die "$c is not installed: run python -m tests.cluster up"; done
used=$(ip -br -4 addr show to "$NET.0/24")
[ -e "/run/netns/$NS-node1" ] || [ -z "$used" ] || die "$NET.0/24 is in use here, choose another NET: $used"
addresses="NS=$NS NET=$NET PODS=$PODS SERVICES=$SERVICES"
[ ! -f "$D/settings" ] || [ "$(cat "$D/made-for")" = "$addresses" ] || die "$D was made for $(cat "$D/made-for"): run down.sh with these and remove $D"
mkdir -p "$D"/{pki,logs}
[ "$(stat -f -c %T "$D")" != overlayfs ] || die "$D is on overlayfs, containerd's layers need a disk: choose another XDG_CACHE_HOME"
[ -L "$D/kubectl" ] || ln -s "$kube" "$D/kubectl"  # to what the nodes were started with
kube=$(readlink -f "$D/kubectl")
[ -f "$D/sysctls" ] || for s in $SYSCTLS; do echo "$s $(cat "/proc/sys/$s")"; done > "$D/sysctls"
echo "$addresses" > "$D/made-for"
echo ": \${NS:=$NS} \${NET:=$NET} \${PODS:=$PODS} \${SERVICES:=$SERVICES} \${NODES:=$NODES} \${BUILD:=$BUILD}" > "$D/settings"
admin=("$D/kubectl" --kubeconfig "$D/admin.kubeconfig")

# --- certificates and the kubeconfig of each component
cert() { # NAME SUBJECT [EXTENSIONS]
  local key="$D/pki/$1.key" crt="$D/pki/$1.crt"
  if [ ! -s "$crt" ]; then
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$key" -out "$D/pki/$1.csr" 2>/dev/null
    openssl x509 -req -in "$D/pki/$1.csr" -CA "$D/pki/ca.crt" -CAkey "$D/pki/ca.key" -CAcreateserial -days 3650 -out "$crt" \
      -extfile <(echo "${3:-extendedKeyUsage=clientAuth}") 2>/dev/null
  fi
  cat > "$D/$1.kubeconfig.part" <<K
apiVersion: v1
kind: Config
current-context: $NS
clusters: [{name: $NS, cluster: {server: "https://$NET.1:6443", certificate-authority-data: $(base64 -w0 "$D/pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$crt"), client-key-data: $(base64 -w0 "$key")}}]
contexts: [{name: $NS, context: {cluster: $NS, user: $1}}]
K
  mv "$D/$1.kubeconfig.part" "$D/$1.kubeconfig"  # whole at every moment: others may be reading it
}
cd "$D/pki"
[ -s ca.crt ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$NS-ca" -keyout ca.key -out ca.crt 2>/dev/null
[ -s sa.pub ] || { openssl genrsa -out sa.key 2048; openssl rsa -in sa.key -pubout -out sa.pub; } 2>/dev/null
cert apiserver /CN=kube-apiserver "subjectAltName=IP:127.0.0.1,IP:$NET.1,IP:$SERVICES.0.1,IP:$NET6::1,IP:$SERVICES6::1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
cert admin /O=system:masters/CN=admin
cert apiserver-kubelet-client /O=system:masters/CN=apiserver-kubelet-client
cert controller-manager /CN=system:kube-controller-manager
cert scheduler /CN=system:kube-scheduler
cert proxy /CN=system:kube-proxy
for i in $(seq "$NODES"); do cert "node$i" "/O=system:nodes/CN=system:node:node$i"; done

# --- cgroups: the cluster's own, one for each node. In a shared one a kubelet kills the other kubelets' pods as orphans.
for mount in $(cgroup_mounts); do
  for dir in "$mount/$NS" $(for i in $(seq "$NODES"); do echo "$mount/$NS/node$i"; done); do
    mkdir -p "$dir"; up=$(dirname "$dir")
    for f in cpuset.cpus cpuset.mems; do [ ! -f "$up/$f" ] || [ -f "$up/cgroup.controllers" ] || cat "$up/$f" > "$dir/$f"; done
    for c in $(cat "$up/cgroup.controllers" 2>/dev/null); do echo "+$c" > "$up/cgroup.subtree_control" || true; done  # cgroup v2
  done
done

# --- network: a bridge in node1, to it the developer's machine and the other nodes. This machine itself must not reach pods
# and services: some gateways answer for any address, so a default route is not enough of a hole.
modprobe br_netfilter 2>/dev/null || true
on() { local i=$1; shift; ip -n "$NS-node$i" "$@"; }
in_net() { local i=$1; shift; nsenter --net="/run/netns/$NS-node$i" "$@"; }
for i in $(seq "$NODES"); do
  if [ -e "/run/netns/$NS-node$i" ]; then
    [ -n "$(on "$i" route show default)" ] || die "the network of node$i is half made: run down.sh"
    continue
  fi
  if [ "$i" = 1 ]; then
    ip netns add "$NS-node1"
    on 1 link add eth0 type bridge
    ip link add "$NS-host" type veth peer name host netns "$NS-node1"
    ip addr add "$NET.254/24" dev "$NS-host"; ip addr add "$NET6::254/64" dev "$NS-host" nodad; ip link set "$NS-host" up
    on 1 link set host master eth0 up
  else
    ip netns add "$NS-node$i"
    on "$i" link add eth0 type veth peer name "node$i" netns "$NS-node1"
    on 1 link set "node$i" master eth0 up
  fi
  on "$i" link set lo up
  on "$i" addr add "$NET.$i/24" dev eth0; on "$i" addr add "$NET6::$i/64" dev eth0 nodad; on "$i" link set eth0 up
  in_net "$i" sh -c "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
  in_net "$i" nft -f - <<N
table ip pods-out { chain postrouting { type nat hook postrouting priority srcnat; ip saddr $PODS.0.0/16 ip daddr != $PODS.0.0/16 masquerade; }; }
table ip6 pods-out { chain postrouting { type nat hook postrouting priority srcnat; ip6 saddr $PODS6::/48 ip6 daddr != $PODS6::/48 masquerade; }; }
N
  on "$i" -6 route add default via "$NET6::254"
  on "$i" route add default via "$NET.254"  # last: a network without it is half made
done
for net in "${networks[@]}"; do ip route replace unreachable "$net" metric "$metric"; done
for i in $(seq "$NODES"); do for j in $(seq "$NODES"); do
  [ "$i" = "$j" ] || { on "$i" route replace "$PODS.$j.0/24" via "$NET.$j"; on "$i" route replace "$PODS6:$j::/64" via "$NET6::$j"; }
done; done
[ "$(in_net 1 cat /proc/sys/net/bridge/bridge-nf-call-ip{,6}tables 2>/dev/null | xargs)" = "1 1" ] || die "br_netfilter is not loaded or is off: services of pods on the same node would not answer"

# --- nodes
wait_for() { # SECONDS WHAT LOG COMMAND...
  local end=$((SECONDS + $1)) what=$2 log=$D/logs/$3; shift 3
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { tail -n 5 "$log" >&2 || true; die "$what is not ready in time: read $log (its end stands above)"; }
    sleep 0.2
  done
}
http_ok() { exec 3<>"/dev/tcp/$1/$2" && printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$3" "$1" >&3 && grep -q '^HTTP/1.. 200' <&3; }
for i in $(seq "$NODES"); do
  [ -z "$(node_pids "$i")" ] || continue
  in_net "$i" setsid unshare --mount --propagation slave --uts --pid --fork --kill-child "$here/node.sh" "$i" </dev/null >"$D/logs/node$i.log" 2>&1 &
done
for i in $(seq "$NODES"); do
  wait_for 30 "containerd of node$i" "node$i.containerd.log" ctr -a "$D/node$i/run/containerd/containerd.sock" version
  ctr -a "$D/node$i/run/containerd/containerd.sock" -n k8s.io images ls -q | grep -q localhost/pause:dev ||
    ctr -a "$D/node$i/run/containerd/containerd.sock" -n k8s.io images import "$BUILD/pause.img" >/dev/null
done
wait_for 60 "the API server" node1.kube-apiserver.log "${admin[@]}" get --raw /readyz
"${admin[@]}" apply -f - >/dev/null <<K
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: $SERVICES.0.10, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$NET.1]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node-proxier}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: system:kube-proxy}]
K
for i in $(seq "$NODES"); do
  wait_for 60 "node$i" "node$i.kubelet.log" "${admin[@]}" wait --for=condition=Ready "node/node$i" --timeout=1s
  wait_for 30 "kube-proxy of node$i" "node$i.kube-proxy.log" http_ok "$NET.$i" 10256 /healthz
done
wait_for 30 "the default service account" node1.kube-controller-manager.log "${admin[@]}" get serviceaccount default
wait_for 30 "cluster DNS" node1.coredns.log http_ok "$NET.1" 8181 /ready
echo "cluster: up, nodes $NODES, after $SECONDS s"

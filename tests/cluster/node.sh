#!/usr/bin/env bash
# A node, in namespaces of its own: `unshare --net --mount --pid --fork --kill-child node.sh FOLDER PROGRAMS`.
# With its first process end all others, its mounts and its interfaces. FOLDER has the configurations.
set -euo pipefail
folder=$1 programs=$2
export PATH=$programs:$PATH

mount --make-rprivate /
mount -t proc proc /proc
# What these programs write at fixed places is gone with them.
for place in /run /var/log /var/lib; do
  mount -t tmpfs tmpfs $place
done
mount --make-rshared /

until ip link show node > /dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add "$ADDRESS/24" dev node
ip link set node up
ip route add default via "$GATEWAY"
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables

containerd --config "$folder/containerd.toml" > "$folder/containerd.log" 2>&1 &
until test -S "$folder/containerd.sock"; do sleep 0.1; done
for image in "$folder"/images/*.tar; do
  ctr --address "$folder/containerd.sock" -n k8s.io images import "$image" > /dev/null
done
kube-proxy --config "$folder/proxy.yaml" > "$folder/proxy.log" 2>&1 &
kubelet --config "$folder/kubelet.yaml" --kubeconfig "$folder/node.kubeconfig" \
  --root-dir "$folder/kubelet" --cert-dir "$folder/pki" --hostname-override real --node-ip "$ADDRESS" > "$folder/kubelet.log" 2>&1 &
wait -n

# shellcheck shell=bash
# etcd, the API server, the controller manager, the scheduler. With nodes they listen on the bridge. Without nodes they listen on
# free ports of the loopback only, so that any number of such runs work at the same time.

free_port() {
  local port
  while :; do
    # Below the range from which the kernel takes ports for outgoing connections.
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
  done
}

start_control_plane() {
  local certificates=$dir/certificates address=127.0.0.1 port etcd_port etcd_peer_port
  etcd_port=$(free_port) etcd_peer_port=$(free_port) port=$(free_port)
  if [ "$nodes" -gt 0 ]; then address=$host_address port=6443; fi
  start_etcd
  make_certificates "$address" "$port"
  say "certificates"
  start_api_server
  wait_until 90 api_is_ready || died kube-apiserver
  say "API server is ready at https://$address:$port"
  start_controller_manager
  [ "$nodes" -eq 0 ] || start_scheduler
  wait_until 60 kube get serviceaccount default -o name >/dev/null 2>&1 || died kube-controller-manager
  kube apply -f "$here/manifests/storage-class.yaml" >/dev/null
  say "controllers are at work"
}

api_is_ready() {
  is_alive kube-apiserver || died kube-apiserver
  [ "$(kube get --raw /readyz 2>/dev/null)" = ok ]
}

died() { # NAME
  tail -n 15 "$dir/log/$1.log" >&2
  fail 70 "$1 did not come up; its log is $dir/log/$1.log"
}

start_etcd() {
  local clients=http://127.0.0.1:$etcd_port peers=http://127.0.0.1:$etcd_peer_port
  # No fsync: a test cluster need not survive a power cut of this machine.
  start etcd "$built/debian/usr/bin/etcd" --name bkv --data-dir "$dir/etcd" --log-level warn --unsafe-no-fsync \
    --listen-client-urls "$clients" --advertise-client-urls "$clients" \
    --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "bkv=$peers"
}

start_api_server() {
  local endpoints=lease audit=()
  # Endpoints may not be loopback addresses, and without nodes no pod needs this Service.
  [ "$nodes" -gt 0 ] || endpoints=none
  # The audit log records each request without its contents. Tests read it to check who requested what.
  [ -z "${BKV_CLUSTER_AUDIT:-}" ] || audit=(--audit-policy-file="$here/config/audit.yaml" --audit-log-path="$dir/log/audit.json")
  # All admission plugins that are on by default stay on: quota, PodSecurity, the CEL policies, limits.
  # With aggregator routing the API server calls webhooks at their pods, and does not depend on the host's routes to Services.
  start kube-apiserver "$built/bin/kube-apiserver" \
    --etcd-servers="http://127.0.0.1:$etcd_port" \
    --bind-address="$address" --advertise-address="$address" --secure-port="$port" --endpoint-reconciler-type="$endpoints" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --service-cluster-ip-range="$services" --enable-aggregator-routing=true \
    --client-ca-file="$certificates/kubernetes-ca.crt" \
    --tls-cert-file="$certificates/apiserver.crt" --tls-private-key-file="$certificates/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$certificates/service-account.pub" \
    --service-account-signing-key-file="$certificates/service-account.key" \
    --kubelet-certificate-authority="$certificates/kubernetes-ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$certificates/kubelet-client.crt" --kubelet-client-key="$certificates/kubelet-client.key" \
    --requestheader-client-ca-file="$certificates/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$certificates/front-proxy-client.crt" \
    --proxy-client-key-file="$certificates/front-proxy-client.key" "${audit[@]}"
}

start_controller_manager() {
  # A node counts as lost after 20 s, not 50, because tests wait for that. With the usual 20 requests a second this process
  # alone would take five seconds to start.
  start kube-controller-manager "$built/bin/kube-controller-manager" \
    --kubeconfig="$certificates/controller-manager.conf" \
    --authentication-kubeconfig="$certificates/controller-manager.conf" \
    --authorization-kubeconfig="$certificates/controller-manager.conf" \
    --bind-address=127.0.0.1 --secure-port="$(free_port)" --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$certificates/service-account.key" --root-ca-file="$certificates/kubernetes-ca.crt" \
    --cluster-signing-cert-file="$certificates/kubernetes-ca.crt" --cluster-signing-key-file="$certificates/kubernetes-ca.key" \
    --cluster-cidr=10.244.0.0/16 --allocate-node-cidrs=false --service-cluster-ip-range="$services" \
    --node-monitor-grace-period=20s --kube-api-qps=200 --kube-api-burst=400
}

start_scheduler() {
  start kube-scheduler "$built/bin/kube-scheduler" --kubeconfig="$certificates/scheduler.conf" \
    --authentication-kubeconfig="$certificates/scheduler.conf" --authorization-kubeconfig="$certificates/scheduler.conf" \
    --bind-address=127.0.0.1 --secure-port="$(free_port)" --leader-elect=false
}

# shellcheck shell=bash
# The certificates and kubeconfigs of one run. They are valid as long as the run. Only the owner can read the key files.

make_certificates() { # API server's address and port
  local address=$1 port=$2 number
  umask 077
  authority kubernetes
  authority front-proxy
  openssl genrsa -out "$certificates/service-account.key" 2048 2>/dev/null
  openssl rsa -in "$certificates/service-account.key" -pubout -out "$certificates/service-account.pub" 2>/dev/null

  local names=DNS:localhost,IP:127.0.0.1,IP:$api_service,IP:$address
  for number in kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local; do names+=,DNS:$number; done
  certificate kubernetes apiserver /CN=kube-apiserver serverAuth "$names"
  certificate kubernetes kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate front-proxy front-proxy-client /CN=front-proxy-client clientAuth
  certificate kubernetes admin /O=system:masters/CN=admin clientAuth
  certificate kubernetes controller-manager /CN=system:kube-controller-manager clientAuth
  certificate kubernetes scheduler /CN=system:kube-scheduler clientAuth
  certificate kubernetes proxy /CN=system:kube-proxy clientAuth
  for number in $(node_numbers); do
    certificate kubernetes "node$number" "/O=system:nodes/CN=system:node:node$number" clientAuth,serverAuth \
      "DNS:node$number,IP:$(node_address "$number")"
    kubeconfig "node$number" "$address:$port"
  done
  for name in controller-manager scheduler proxy admin; do kubeconfig "$name" "$address:$port"; done
  cp "$certificates/admin.conf" "$dir/kubeconfig"
  umask 022
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$certificates/$1.key"; }

authority() {
  new_key "$1-ca"
  openssl req -x509 -new -key "$certificates/$1-ca.key" -days 365 -subj "/CN=$1-ca" -out "$certificates/$1-ca.crt"
}

# certificate AUTHORITY NAME SUBJECT USAGES [ALTERNATIVE NAMES]
certificate() {
  local extensions="keyUsage=digitalSignature"$'\n'"extendedKeyUsage=$4"
  [ -z "${5:-}" ] || extensions+=$'\n'"subjectAltName=$5"
  new_key "$2"
  openssl req -new -key "$certificates/$2.key" -subj "$3" |
    openssl x509 -req -CA "$certificates/$1-ca.crt" -CAkey "$certificates/$1-ca.key" -set_serial "0x$(openssl rand -hex 8)" \
      -days 365 -extfile <(echo "$extensions") -out "$certificates/$2.crt" 2>/dev/null
}

kubeconfig() { # NAME ADDRESS:PORT
  cat >"$certificates/$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: bkv, cluster: {server: "https://$2", certificate-authority-data: $(base64 -w0 "$certificates/kubernetes-ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$certificates/$1.crt"), client-key-data: $(base64 -w0 "$certificates/$1.key")}}]
contexts: [{name: bkv, context: {cluster: bkv, user: $1}}]
current-context: bkv
YAML
}

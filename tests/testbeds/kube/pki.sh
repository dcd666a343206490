# Certificates and kubeconfigs, made once per KT_BASE. Sourced by kube-up.sh.
# shellcheck shell=bash disable=SC2154

make_authority() { # NAME
  openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key"
  openssl req -x509 -new -key "$PKI/$1.key" -subj "/CN=kube-testbed-$1" -days 3650 -sha256 \
    -addext "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign" -out "$PKI/$1.crt"
}

make_certificate() { # NAME COMMON-NAME [GROUP] [NAMES] [AUTHORITY]
  local name=$1 subject="${3:+/O=$3}/CN=$2" authority=${5:-ca}
  openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$name.key"
  {
    echo "keyUsage=critical,digitalSignature,keyEncipherment"
    echo "extendedKeyUsage=clientAuth,serverAuth"
    [ -z "${4:-}" ] || echo "subjectAltName=$4"
  } >"$PKI/$name.ext"
  openssl req -new -key "$PKI/$name.key" -subj "$subject" |
    openssl x509 -req -CA "$PKI/$authority.crt" -CAkey "$PKI/$authority.key" -set_serial "0x$(openssl rand -hex 12)" \
      -days 3650 -sha256 -extfile "$PKI/$name.ext" -out "$PKI/$name.crt" 2>/dev/null
}

make_kubeconfig() { # NAME FILE
  cat >"$2" <<Y
apiVersion: v1
kind: Config
current-context: kube-testbed
clusters: [{name: kube-testbed, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: "$1", user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}}]
contexts: [{name: kube-testbed, context: {cluster: kube-testbed, user: "$1", namespace: default}}]
Y
}

make_pki() {
  local api="DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  api=$api,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$SVC_API
  local here="DNS:localhost,IP:127.0.0.1" component
  if [ ! -f "$PKI/done" ]; then
    make_authority ca
    make_authority front-proxy-ca
    openssl genrsa -out "$PKI/sa.key" 2048
    openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub"
    make_certificate apiserver kube-apiserver "" "$api"
    make_certificate apiserver-kubelet kube-apiserver-kubelet-client system:masters
    make_certificate front-proxy front-proxy-client "" "" front-proxy-ca
    make_certificate admin kubernetes-admin system:masters
    make_certificate controller-manager system:kube-controller-manager "" "$here"
    make_certificate scheduler system:kube-scheduler "" "$here"
    make_certificate kubelet "system:node:$KT_NODE" system:nodes
    make_certificate kubelet-server "system:node:$KT_NODE" system:nodes "$here,DNS:$KT_NODE,IP:$NODE_IP"
    make_certificate kube-proxy system:kube-proxy
    make_certificate kube-router kube-router
    make_certificate local-path local-path-provisioner
    make_certificate kwok kwok
    touch "$PKI/done"
  fi 2>/dev/null
  [ -f "$PKI/done" ] || die "certificates could not be made in $PKI"
  for component in controller-manager scheduler kubelet kube-proxy kube-router local-path kwok; do
    make_kubeconfig $component "$PKI/$component.conf"
  done
  make_kubeconfig admin "$ADMIN"
}

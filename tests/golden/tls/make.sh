#!/usr/bin/env bash
# Makes the certificates of the tests: an authority, and what it certifies for `localhost`, for a hundred years. The keys are
# worth nothing to anybody: no machine trusts the authority but a test that is told to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
openssl ecparam -name prime256v1 -genkey -noout -out authority.key
openssl req -x509 -new -key authority.key -sha256 -days 36500 -subj "/CN=incontext tests" -out authority.pem \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out localhost.key
openssl req -new -key localhost.key -subj "/CN=localhost" -out localhost.csr
openssl x509 -req -in localhost.csr -CA authority.pem -CAkey authority.key -CAcreateserial -sha256 -days 36500 \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n') \
    -out localhost.pem
rm -f authority.key authority.srl localhost.csr

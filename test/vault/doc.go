// Package vaultclients holds the Vault dialect to clients that were made for Vault and OpenBao, unmodified: each is started by the test against a
// whole development server, over TLS that it verifies, and is told nothing but the variables of its dev.env.
//
//   - libraries for Go: HashiCorp's and OpenBao's clients, the wrapper by which servers unseal themselves, Tink, Go CDK, sigstore;
//   - programs: SOPS, node-vault (js/package-lock.json pins it), Debian's python3-hvac. scripts/deps.sh installs what is missing;
//   - with the build tag slow: Debian's radosgw, which is Ceph's gateway, on a cluster in memory. make test-slow installs and runs it.
//
// It is a module of its own, so that their dependencies are not the server's.
package vaultclients

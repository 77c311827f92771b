// Package vault is the Vault dialect: as much of the HTTP API of HashiCorp Vault and OpenBao as clients of their transit engine need,
// translated to the engine. It follows OpenBao 2.6.2, and Vault 1.21 where it differs.
//
// It refuses to decide: who calls is authn's to say, everything else the engine's. It keeps nothing. It holds no secrets but those of the
// request under way, in buffers that are erased.
//
// Names: key NAME of the mount "transit" is the key NAME, and of another mount M the key M/NAME, of the caller's namespace or of the one that
// X-Vault-Namespace or the beginning of the path names. Version N is version N.
//
// Ciphertexts are "vault:vN:" and base64 of a Keyhold blob, which commits to key and version (docs/formats-ciphertext.md): N is its version, and one that
// says otherwise does not open.
//
// The table of routes (routes.go) says of each whether it works, and docs/dialects/vault.md is made from it.
package vault

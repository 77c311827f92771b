// Package vaultclients holds the Vault dialect to clients that were made for Vault and OpenBao, unmodified: each is started by the test against a
// whole development server, over TLS that it verifies.
//
// It is a module of its own, so that their dependencies are not the server's.
package vaultclients

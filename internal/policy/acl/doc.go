// Package acl reads ACL policies of HashiCorp Vault and OpenBao and says them in Cedar, so that one policy engine decides.
//
// It understands paths with their capabilities, written in HCL or JSON, with * at the end of a path and + for a segment. What a path stands for is a
// table that it is given (kms.Path). A document is translated completely or refused with every finding: parameters, wrapping times, control groups
// and templates cannot be decided on here. A path that stands for nothing on this server permits nothing, and is told as a note.
//
// What holds, each with a test:
//   - Of several paths that match a request the one of the highest priority counts, and no other: Vault's rules, which order.go has in its words.
//   - deny beats every other capability of its path.
//   - What several policies permit adds up, and what one of them denies is denied. Vault lets the path of the highest priority decide among all policies of
//     a caller: a longer path in one policy takes nothing away here from what another one permits, and gives nothing back that another one denies.
//   - Actions that never are in a wildcard (kms.ExceptionGroup) are permitted by paths that are written out up to the key's name; secrets are read by paths
//     that name the mount.
//
// The package is pure: no I/O, no clock, no context. Reading is bounded in bytes, paths and findings.
//
// Source: Vault documentation, "Policies" (policy syntax, priority matching); OpenBao 2.6.2.
package acl

// Package faults breaks the whole server on purpose: the real binary as a process of its own, over TLS, with the Go client. It is killed under load,
// its files are altered, two are started on one directory, and hostile clients send what no client should.
//
// make test runs reduced sizes; KEYHOLD_LONG=1 the full ones.
package faults

// Package memory looks for secrets in the memory of a running server, and in everything that it writes.
//
// It starts the real program, built as make build builds it, learns the bytes of its keys from its data directory while it is stopped, lets it
// work, and then reads all of its memory through /proc. Memory of memfd_secret cannot be read that way: what is kept there is found nowhere.
package memory

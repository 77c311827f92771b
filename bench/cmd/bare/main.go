// Command bare is the yardstick that key servers are measured against: JSON over TLS, a key in memory, one cryptographic operation; no
// authentication, no policy, and an audit record only if it is asked for. It prints its URL when it is ready.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/keyhold/keyhold/bench/internal/bare"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "loopback address")
	audit := flag.String("audit", "off", "off, unsynced (written), durable (written and synced, in groups)")
	file := flag.String("file", "bare.log", "the audit log, made anew")
	flag.Parse()
	if err := run(*addr, *audit, *file); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(addr, audit, file string) error {
	var log *bare.Log
	if audit != "off" {
		var err error
		if log, err = bare.Open(file, bare.Mode(audit)); err != nil {
			return err
		}
	}
	return bare.Serve(addr, bare.New(log), func(url string) { fmt.Println(url) })
}
